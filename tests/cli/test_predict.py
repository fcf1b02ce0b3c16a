import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import sys

import pytest

from longspan.cli.main import main

TEXT = "Anna was born in Lund in 1901. Later Anna moved away, and wrote 2 books about bees.\n" * 12


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture
def model(tiny_qa_folder):
    return str(tiny_qa_folder("longformer"))


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def standard_input(monkeypatch):
    """Put bytes on standard input, in the locale of a container."""

    def put(data):
        stream = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="surrogateescape")
        monkeypatch.setattr("sys.stdin", stream)

    return put


def test_one_line_of_json_per_question(model, document, capsys):
    assert main(["predict", model, "--document", document, "--question", "Where?", "--question", "When?"]) == 0
    captured = capsys.readouterr()
    rows = lines(captured.out)
    assert [row["question"] for row in rows] == ["Where?", "When?"]
    for row in rows:
        assert TEXT[row["start"] : row["end"]] == row["text"] != ""
        assert row["text"] in row["sentence"]
        assert TEXT[row["sentence_start"] :].startswith(row["sentence"])
        assert 0 <= row["place"] <= 100
        assert 0 < row["score"] <= 1
    assert "overlapping windows" in captured.err


def test_questions_from_a_file_and_several_answers_to_a_file(model, document, tmp_path, capsys):
    questions = tmp_path / "questions.txt"
    questions.write_text('Where?\n\n{"id": "w7", "question": "When?"}\n')
    output = tmp_path / "answers.jsonl"
    words = ["--document", document, "--questions", str(questions), "--top_k", "3", "--output", str(output)]
    assert main(["predict", model, *words]) == 0
    rows = lines(output.read_text())
    assert [row["id"] for row in rows] == ["0", "w7"]
    for row in rows:
        assert len(row["answers"]) == 3
        assert row["answers"][0]["text"] == row["text"]
        scores = [answer["score"] for answer in row["answers"]]
        assert scores == sorted(scores, reverse=True)
    assert capsys.readouterr().out == ""


def test_answers_go_where_a_link_leads(model, document, tmp_path):
    output, target = tmp_path / "answers.jsonl", tmp_path / "disk" / "answers"
    output.symlink_to(target)
    assert main(["predict", model, "--document", document, "--question", "Where?", "--output", str(output)]) == 0
    assert output.is_symlink() and len(lines(target.read_text())) == 1


def test_answers_go_into_an_open_file(model, document):
    reads, writes = os.pipe()
    words = ["--document", document, "--question", "Where?", "--output", f"/dev/fd/{writes}"]
    assert main(["predict", model, *words]) == 0
    os.close(writes)
    with os.fdopen(reads) as file:
        assert len(lines(file.read())) == 1


def test_an_output_that_cannot_be_written_is_refused_first(document, tmp_path, capsys):
    with open(document) as file:
        words = ["--document", document, "--question", "Where?", "--output", f"/dev/fd/{file.fileno()}"]
        assert main(["predict", str(tmp_path / "no model is looked for"), *words]) == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_text_for_people(model, document, capsys):
    assert main(["predict", model, "--document", document, "--question", "Where?", "--format", "text"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Q: Where?\nA: ")
    assert "of the document" in out


def test_a_document_from_standard_input(model, capsys, standard_input):
    standard_input(b"Bees fly.")
    assert main(["predict", model, "--document", "-", "--question", "Who?"]) == 0
    assert lines(capsys.readouterr().out)[0]["text"] in "Bees fly."


TEI = "<TEI><teiHeader>1895</teiHeader><text><p>Anna wrote <hi>it</hi>.</p></text></TEI>"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("plain.txt", b"Anna wrote it.\n"),
        ("mark.txt", "Anna wrote it.\n".encode("utf-8-sig")),
        ("windows.txt", b"One.\r\n\r\nAnna\r\nwrote\rit.\r\n"),
        ("old_mac.txt", b"One.\r\rAnna\rwrote it.\r"),
        ("both.txt", "One\r\nAnna wrote it.\r".encode("utf-8-sig")),
        ("novel.xml", TEI.encode()),
        ("novel.txt", TEI.encode("utf-8-sig")),
        ("latin.xml", f"<?xml version='1.0' encoding='latin-1'?>{TEI}\n<!-- \xe9 -->".encode("latin-1")),
        ("utf16.xml", f"<?xml version='1.0' encoding='utf-16'?>{TEI}".encode("utf-16")),
        ("a.txt.gz", gzip.compress(b"Anna\r\nwrote it.", mtime=0)),
        ("a.txt.xz", lzma.compress(b"Anna\r\nwrote it.")),
        ("a.txt.bz2", bz2.compress(b"Anna\r\nwrote it.")),
        ("novel.xml.gz", gzip.compress(TEI.encode(), mtime=0)),
        ("no_ending", gzip.compress(TEI.encode(), mtime=0)),
    ],
)
def test_standard_input_reads_as_a_file(model, tmp_path, capsys, standard_input, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    standard_input(data)
    answers = []
    for document in (str(path), "-"):
        assert main(["predict", model, "--document", document, "--question", "Who?", "--top_k", "5"]) == 0
        answers.append(lines(capsys.readouterr().out)[0])
        del answers[-1]["seconds"]
    assert answers[0] == answers[1]
    if "TEI" in data.decode("latin-1"):
        assert all(answer["sentence"].strip() in "Anna wrote it." for answer in answers[0]["answers"])
    elif path.suffix == ".txt":
        text = path.read_bytes().decode()
        for answer in answers[0]["answers"]:
            assert text[answer["start"] : answer["end"]] == answer["text"] != ""
            assert text[answer["sentence_start"] :].startswith(answer["sentence"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Z\xfcrich", "standard input is not UTF-8: byte 1 is 0xfc"),
        ("Zürich".encode("utf-16"), "standard input is not UTF-8 but UTF-16"),
        ("Anna wrote it.".encode("utf-16-le"), "standard input is not UTF-8 but UTF-16"),
        (gzip.compress(b"Anna wrote it.", mtime=0)[:-9], "standard input: its .gz data is broken or cut"),
        (b"PK\x03\x04" + bytes(range(256)), "standard input is an archive (as .docx, .odt and .epub files are)"),
        (b"PK\x03\x04\x14" + bytes(200), "standard input is an archive (as .docx, .odt and .epub files are)"),
        (b"%PDF-1.7\n%\xe2\xe3", "standard input is a PDF"),
        (b" \n", "standard input is empty"),
    ],
)
def test_standard_input_that_is_no_text(model, capsys, standard_input, data, message):
    standard_input(data)
    assert main(["predict", model, "--document", "-", "--question", "Who?"]) == 2
    assert message in capsys.readouterr().err


def test_standard_input_that_is_closed(model, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert main(["predict", model, "--document", "-", "--question", "Who?"]) == 2
    assert "standard input is closed" in capsys.readouterr().err


def test_an_argument_in_another_encoding(model, document, capsys):
    assert main(["predict", model, "--document", document, "--question", "Gr\udcf6?"]) == 2
    assert "the argument 'Gr\\udcf6?' is not utf-8: character 2 is the byte 0xf6" in capsys.readouterr().err


def test_paths_may_be_of_any_bytes(model, tmp_path, capsys):
    name = os.fsencode(tmp_path) + b"/d\xf6.txt"
    try:
        with open(name, "wb") as file:
            file.write(b"Anna wrote it.")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert main(["predict", model, "--document", os.fsdecode(name), "--question", "Who?"]) == 0
    assert lines(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[{"question": "Who?"}, {"question": "Where?", "id": "w"}, "When?"]',
            [("0", "Who?"), ("w", "Where?"), ("2", "When?")],
        ),
        ('\ufeff[\r\n {"question": "Who?"}\r\n]\r\n', [("0", "Who?")]),
        ('{"id": null, "question": "Who?"}\n{"id": 7, "question": "Where?"}', [("0", "Who?"), ("7", "Where?")]),
        (
            "Who\u2028wrote\x0cit\x85now?\r\nWhere?\rWhen?\r\n",
            [("0", "Who\u2028wrote\x0cit\x85now?"), ("1", "Where?"), ("2", "When?")],
        ),
        ('{"question": "Who\u2028wrote it?"}\r\n', [("0", "Who\u2028wrote it?")]),
        ("[1] Who wrote it?\n[2] Where?", [("0", "[1] Who wrote it?"), ("1", "[2] Where?")]),
        ('{"question": "Who \\ud83d\\ude00?"}', [("0", "Who \U0001f600?")]),
    ],
)
def test_files_of_questions(model, document, tmp_path, capsys, text, expected):
    path = tmp_path / "questions"
    path.write_bytes(text.encode())
    assert main(["predict", model, "--document", document, "--questions", str(path)]) == 0
    rows = lines(capsys.readouterr().out)
    assert [(row["id"], row["question"]) for row in rows] == expected


def test_standard_output_is_utf_8(model, tmp_path, monkeypatch):
    path = tmp_path / "doc.txt"
    path.write_text("\U0001f389\u2028Ελλάδα", encoding="utf-8")
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="cp1252"))
    assert main(["predict", model, "--document", str(path), "--question", "Τι;", "--top_k", "9"]) == 0
    sys.stdout.flush()
    (row,) = lines(written.getvalue().decode())
    assert row["question"] == "Τι;"


def test_a_terminal_keeps_its_encoding(model, document, monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", Terminal(written, encoding="latin-1"))
    assert main(["predict", model, "--document", document, "--question", "Où, Τι;"]) == 0
    sys.stdout.flush()
    assert rb"O\u" not in written.getvalue()
    assert "Où, ".encode("latin-1") + rb"\u03a4\u03b9;" in written.getvalue()


def test_a_short_model_reads_windows_and_says_so(tiny_qa_folder, document, capsys):
    words = ["--document", document, "--question", "Where?", "--max_length", "48", "--overlap", "8"]
    assert main(["predict", str(tiny_qa_folder("bert")), *words]) == 0
    captured = capsys.readouterr()
    n_windows = lines(captured.out)[0]["n_windows"]
    assert n_windows > 2
    assert f"read in {n_windows} overlapping windows" in captured.err
    assert main(["predict", str(tiny_qa_folder("bert")), *words, "--truncate"]) == 0
    assert lines(capsys.readouterr().out)[0]["n_windows"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--question", " "], "a question is empty"),
        ([], "no question"),
        (["--question", "why " * 300], "leaves no room"),
        (["--questions", "nowhere.txt"], "nowhere.txt: no such file"),
        (["--question", "Why?", "--top_k", "0"], "--top_k is 0"),
        (["--question", "Why?", "--max_length", "5000"], "max_length is 5000 but the model takes 192"),
        (["--question", "Why?", "--overlap", "192"], "overlap is 192"),
        (["--question", "Why?", "--output", "/dev/null/x.jsonl"], "/dev/null is a file, so /dev/null/x.jsonl cannot"),
        (["--question", "Why?", "--output", "/"], "/ is a folder"),
        (["--questions", "/"], "/ is a folder"),
        (["--question", "Why?", "--device", "gpu"], "there is no device 'gpu'"),
        (["--question", "Why?", "--device", "cuda:99"], "device 'cuda:99' is not there"),
    ],
)
def test_mistakes(model, document, capsys, words, message):
    assert main(["predict", model, "--document", document, *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("text", "message"), [("", "empty"), (None, "no such file")])
def test_documents_that_cannot_be_read(model, tmp_path, capsys, text, message):
    path = tmp_path / "doc.txt"
    if text is not None:
        path.write_text(text)
    assert main(["predict", model, "--document", str(path), "--question", "Why?"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "doc.txt" in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n", "holds no question"),
        ('{"question": ', "line 1: not JSON"),
        ('{"q": "x"}', "line 1: a record needs"),
        ("[]", "its list is empty"),
        ('[{"question": "Who?"}', "is cut: it ends after byte 21"),
        ('["Who?", 7]', "[1]: a record needs `question`"),
        ('["Who \\udc80?"]', "[0] is not valid text: character 4 is U+DC80"),
        ('Who?\n{"question": "Who \\ud83d?"}', "line 2: `question` is not valid text: character 4 is U+D83D"),
        ('{"question": "Who?", "id": "\\ud83d"}', "line 1: `id` is not valid text"),
        ('{"question": "Who?", "id": [1]}', "line 1: `id` should be text or a number"),
        ('{"question": null}', "line 1: a record needs"),
    ],
)
def test_files_of_questions_that_are_none(model, document, tmp_path, capsys, text, message):
    path = tmp_path / "questions"
    path.write_text(text)
    assert main(["predict", model, "--document", document, "--questions", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_a_model(tmp_path, document, capsys):
    assert main(["predict", str(tmp_path), "--document", document, "--question", "Why?"]) == 2
    assert "holds no model" in capsys.readouterr().err


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """Where the wheel has its adapter; nothing is there yet."""
    folder = tmp_path / "packaged"
    monkeypatch.setattr("longspan.tasks.adapter_files.packaged_folder", lambda: folder)
    return folder


def test_a_half_replaced_folder_is_refused(model, document, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    (folder / ".longspan.replacing").mkdir()  # a killed run's mark
    assert main(["predict", str(folder), "--document", document, "--question", "Where?"]) == 2
    assert "is incomplete: the run that filled it was killed" in capsys.readouterr().err


def test_without_a_model_the_packaged_one_answers(tiny_qa_folder, packaged, document, capsys):
    from longspan.tasks.adapters import extract_adapter, save_adapter
    from longspan.tasks.question_answering.model import build_qa_model

    base = str(tiny_qa_folder("xlm-roberta encoder"))
    packaged.mkdir()
    save_adapter(extract_adapter(base, build_qa_model(base, max_tokens=192, attention_window=16).model, 2), packaged)
    assert main(["predict", "--document", document, "--question", "Where?"]) == 0
    (row,) = lines(capsys.readouterr().out)
    assert TEXT[row["start"] : row["end"]] == row["text"] != ""


def test_without_a_model_where_none_is_packaged(packaged, document, capsys):
    assert main(["predict", "--document", document, "--question", "Where?"]) == 2
    error = capsys.readouterr().err
    assert "no trained model comes with this longspan" in error
    assert "longspan finetune squad-e5-adapter-short" in error


@pytest.mark.parametrize(
    ("n_tokens", "words", "n_windows"), [(100, [], 1), (4096, [], 4), (100, ["--batch_size", "3"], 3)]
)
def test_long_windows_are_read_one_by_one_on_cpu(tiny_qa_folder, document, monkeypatch, n_tokens, words, n_windows):
    from longspan.tasks import predicting
    from longspan.tasks.question_answering.predictor import QaPredictor

    asked = []
    answer = QaPredictor._logits
    monkeypatch.setattr(QaPredictor, "_logits", lambda self, batch: asked.append(len(batch)) or answer(self, batch))
    monkeypatch.setattr(predicting, "_CPU_TOKENS", n_tokens)
    words = [*words, "--max_length", "64", "--overlap", "16", "--device", "cpu"]
    model = str(tiny_qa_folder("bert"))
    assert main(["predict", model, "--document", document, "--question", "Where?", *words]) == 0
    assert max(asked) == n_windows


def test_many_questions_over_one_document_tokenise_it_once(model, document, tmp_path, monkeypatch, capsys):
    from longspan.data.qa import tokens as qa_tokens

    texts = []
    cut = qa_tokens.tokenise_in_pieces
    monkeypatch.setattr(
        qa_tokens,
        "tokenise_in_pieces",
        lambda chunks, *rest, **options: texts.append(1) or cut(chunks, *rest, **options),
    )
    questions = tmp_path / "questions.txt"
    questions.write_text("Where?\n" * 300)
    assert main(["predict", model, "--document", document, "--questions", str(questions), "--truncate"]) == 0
    assert len(lines(capsys.readouterr().out)) == 300
    assert texts == [1]
