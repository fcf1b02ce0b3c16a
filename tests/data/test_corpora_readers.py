import bz2
import errno
import gzip
import importlib.util
import json
import lzma
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.data.corpora.contents import scan_source
from longspan.data.corpora.fragments import SPLITTERS
from longspan.data.corpora.sources import CorpusSource, find_files, parse_sources
from longspan.data.corpora.streams import ByteCounter, text_chunks
from longspan.errors import InputError

COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
TEI = """<?xml version="1.0" encoding="UTF-8"?>
<TEI xmlns="http://www.tei-c.org/ns/1.0"><teiHeader><title>Not this</title></teiHeader>
<text><front><head>The   title</head></front><body><div>
 <p>One <hi>two</hi>, a
   line<lb/>break<note>not this</note>.</p>
 <p>A <choice><sic>wrnog</sic><corr>right</corr></choice> &amp; word</p><l>verse</l></div></body></text></TEI>"""


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, str):
        data = data.encode()
    if path.suffix == ".zst":
        import zstandard

        path.write_bytes(zstandard.ZstdCompressor().compress(data))
    else:
        path.write_bytes(COMPRESS.get(path.suffix, bytes)(data))
    return path


def documents(**fields):
    """The documents of a source as whole texts, without the white space around them."""
    found, held = [], ""
    for _, fragments in scan_source(CorpusSource(**{k: str(v) for k, v in fields.items()}), []).fragments(
        ByteCounter()
    ):
        for text, ends_document in fragments:
            held += text
            if ends_document:
                found.append(held.strip())
                held = ""
    assert not held
    return [text for text in found if text]


@pytest.mark.parametrize("ending", [*COMPRESS, ".zst"])
def test_plain_text_ends_documents_at_blank_lines_in_every_compression(tmp_path, ending):
    if ending == ".zst":
        pytest.importorskip("zstandard")
    path = write(tmp_path / f"a.txt{ending}", "\ufeffone\r\ntwo\r\n \t\r\n\r\nthree\rfour\n\n")
    assert documents(path=path) == ["one\ntwo", "three\nfour"]
    assert documents(path=path, documents="file") == ["one\ntwo\n \t\n\nthree\nfour"]
    assert documents(path=path, documents="line") == ["one", "two", "three", "four"]


@pytest.mark.parametrize("ending", [".gz", ".xz", ".bz2", ".zst"])
def test_cut_or_wrong_compressed_data_names_the_file(tmp_path, ending):
    if ending == ".zst":
        pytest.importorskip("zstandard")
    path = tmp_path / f"a.txt{ending}"
    whole = write(path, "some words " * 99).read_bytes()
    for data in (whole[:-5], b"", b"no such format", whole[:-9] + b"\0\0\0\0\0\0\0\0\0"):
        path.write_bytes(data)
        with pytest.raises(
            InputError, match=rf"{re.escape(str(path))}: its \{ending} data is broken or cut after byte"
        ):
            documents(path=path)


def test_zst_without_its_package_says_what_to_install(tmp_path):
    if importlib.util.find_spec("zstandard"):
        pytest.skip("zstandard is installed")
    (tmp_path / "a.txt.zst").write_bytes(b"x")
    with pytest.raises(InputError, match=r"pip install 'longspan\[zstd\]'"):
        documents(path=tmp_path / "a.txt.zst")


@pytest.mark.parametrize("before", [0, 5, (1 << 20) - 1, (1 << 20) + 3])
def test_wrong_bytes_are_named_with_their_offset(tmp_path, before):
    path = write(
        tmp_path / "a.txt.gz", b"\xef\xbb\xbf" + "é".encode() * (before // 2) + b"x" * (before % 2) + b"\xe9 no"
    )
    with pytest.raises(
        InputError, match=rf"a.txt.gz is not UTF-8: byte {before + 3:,} is 0xe9 .*save the file as UTF-8"
    ):
        documents(path=path)
    path = write(tmp_path / "b.jsonl", b'{"text": "ok"}\n{"text": "\xe9"}\n')
    with pytest.raises(InputError, match=r"b.jsonl is not UTF-8: byte 25 is 0xe9"):
        documents(path=path)


ONE = "= One = \n \n Text of one . \n \n = = Part = = \n \n More ."
TWO = "= Two = \n \n x = y \n = no heading = \n z"
WIKITEXT = f" \n {ONE} \n \n \n {TWO} \n"


@given(st.data())
def test_where_documents_end_does_not_depend_on_how_the_file_is_read(data):
    lines = st.sampled_from(["a b", " ", "", "\t", " = Title = ", " = = Part = = ", "x = y", "\u2028"])
    text = "\n".join(data.draw(st.lists(lines, max_size=12)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    chunks = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for splitter in SPLITTERS.values():
        results = []
        for some in ([text], chunks):
            joined = "".join(part + ("\0" if ends else "") for part, ends in splitter(some))
            results.append([document.strip() for document in joined.split("\0") if document.strip()])
        assert results[0] == results[1]
        assert re.sub(r"\s", "", "".join(results[0])) == re.sub(r"\s", "", text)


def test_wikitext_begins_documents_at_headings_of_the_first_level(tmp_path):
    expected = [ONE, TWO]
    assert documents(path=write(tmp_path / "wiki.train.tokens.xz", WIKITEXT)) == expected
    assert documents(path=write(tmp_path / "a.txt", WIKITEXT), format="wikitext") == expected
    rows = "".join(json.dumps({"text": line + "\n"}) + "\n" for line in WIKITEXT.split("\n"))
    assert documents(path=write(tmp_path / "a.jsonl", rows), documents="heading") == expected


def test_tei_gives_the_text_without_header_notes_and_replaced_readings(tmp_path):
    expected = "The title\nOne two, a line\nbreak.\nA right & word\nverse"
    assert documents(path=write(tmp_path / "a.xml.gz", TEI)) == [expected]
    corpus = "<teiCorpus>" + re.sub(r"<\?.*?\?>", "", TEI) * 2 + "</teiCorpus>"
    assert documents(path=write(tmp_path / "b.xml", corpus)) == [expected] * 2
    latin = TEI.replace("UTF-8", "ISO-8859-1").replace("verse", "f\xfcr").encode("latin-1")
    assert documents(path=write(tmp_path / "c.xml", latin))[0].endswith("für")


def read(tmp_path, body, *, head="", root="<TEI>"):
    """The lines of a text with `body` in its only division."""
    (document,) = documents(
        path=write(tmp_path / "a.xml", f"{head}{root}<text><body><div>{body}</div></body></text></TEI>")
    )
    return document.split("\n")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("<p><w>Hello</w><pc>,</pc> <w>world</w><pc>.</pc></p>", "Hello, world."),
        ("<p>By <persName><forename>Anna</forename> <surname>Berg</surname></persName>.</p>", "By Anna Berg."),
        ("<p>A <measure>mile</measure> <unknown>far</unknown>.</p>", "A mile far."),
        ("<p>He came <stage>(aside)</stage> in.</p>", "He came (aside) in."),
        ("<p>As <cit><quote>so</quote><bibl>X</bibl></cit> said</p>", "As so X said"),
        ("<byline>by <docAuthor>A. Berg</docAuthor></byline>", "by A. Berg"),
        ("<p>A<bibl><author>Berg</author><title>Ur</title></bibl>, end</p>", "A Berg Ur, end"),
        ("<p>«<quote>so</quote>»<stage>(he</stage> bows)</p>", "«so» (he bows)"),
        ("<p>A word<note><p>no</p></note> more</p>", "A word more"),
        ('<p>x <m:math xmlns:m="http://www.w3.org/1998/Math/MathML"><m:text>y</m:text></m:math> z</p>', "x y z"),
        ('<p><w join="right">So</w>\n<w>to</w>\n<pc join="left">.</pc></p>', "Soto."),
    ],
)
def test_tei_elements_within_a_line_do_not_break_it(tmp_path, body, line):
    assert read(tmp_path, body) == [line]


def test_tei_parts_of_a_division_have_own_lines(tmp_path):
    body = "<quote>a</quote><unknown>b</unknown><sp><speaker>C</speaker><stage>d</stage><p>e</p></sp>"
    assert read(tmp_path, body) == ["a", "b", "C", "d", "e"]
    assert read(tmp_path, "<p>x <list><item>y</item><item>z</item></list></p>") == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ('<p>An exam<lb break="no"/>ple.</p>', ["An example."]),
        ('<p>An exam-\n <lb break="no"/>\n ple.</p>', ["An example."]),
        ('<p>An exam<pc>-</pc><pb break="no"/><fw>12</fw><lb/>ple.</p>', ["An example."]),
        ('<p>well-<lb/>known - <cb break="no"/>no</p>', ["well-", "known -no"]),
        ('<p>one</p><pb break="no"/><p>two<milestone break="yes"/>three</p>', ["one", "two three"]),
    ],
)
def test_tei_words_go_on_over_breaks_inside_them(tmp_path, body, lines):
    assert read(tmp_path, body) == lines


@pytest.mark.parametrize(
    ("markup", "word"),
    [
        ("<app><lem>old</lem><rdg>new</rdg></app>", "old"),
        ("<app><rdg>first</rdg><rdg>second</rdg><note>no</note></app>", "first"),
        ("<app><rdgGrp><rdg>a</rdg><lem>old</lem></rdgGrp><rdg>c</rdg></app>", "old"),
        ("<app>\n <lem/>\n <rdg>x</rdg>\n</app>", ""),
        ("<choice>\n <corr>right</corr>\n <sic>wrnog</sic>\n</choice>", "right"),
        ("<choice><abbr>Mr</abbr><expan>Mister</expan><expan>Master</expan></choice>", "Mister"),
        ("<choice><unclear>a</unclear><unclear>b</unclear></choice>", "a"),
        ("<choice><sic>only</sic></choice>", "only"),
        ("<sic>as it stands</sic>", "as it stands"),
        ("<subst>\n<del>no</del>\n<add>yes</add></subst>", "yes"),
        ("<restore><del>kept</del></restore>", "kept"),
        ("<ruby><rb>漢</rb><rt>かん</rt></ruby>", "漢"),
        ("<index><term>no</term></index>", ""),
        ("dark<gap><desc>ink</desc></gap>ness", "darkness"),
        ("<app><lem>a <choice><orig>b</orig><reg>c</reg></choice></lem><rdg>d</rdg></app>", "a c"),
        ('<app from="#a"><lem>house</lem><rdg>home</rdg></app>', ""),
    ],
)
def test_tei_one_reading_is_kept(tmp_path, markup, word):
    assert read(tmp_path, f"<p>(‹{markup}›)</p>") == [f"(‹{word}›)"]


def test_tei_apparatus_apart_from_the_text_is_left_out(tmp_path):
    root = '<TEI><teiHeader><variantEncoding method="location-referenced" location="internal"/></teiHeader>'
    assert read(tmp_path, "<p>A house.<app><rdg>home</rdg></app></p>", root=root) == ["A house."]


DTD = '<!DOCTYPE TEI SYSTEM "http://example.org/tei.dtd" [<!ENTITY % more SYSTEM "more.ent"> %more;{}]>\n'


def test_tei_entities_become_their_text(tmp_path):
    body = "<p>caf&eacute;&mdash;&own; &#233;&amp;</p>"
    assert read(tmp_path, body, head=DTD.format('<!ENTITY own "<hi>mine</hi>">')) == ["café—mine é&"]
    assert read(tmp_path, "<p>caf&eacute;</p>") == ["café"]


@pytest.mark.parametrize(
    ("body", "declared", "message"),
    [
        ("<p>a &house; b</p>", "", r"line 2: the entity &house; is not declared"),
        ("\n&part;", '<!ENTITY part SYSTEM "part.xml">', r"line 3: the entity &part; stands for the file part.xml"),
        (
            '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="two.xml"/>',
            "",
            r"line 2: xi:include takes a part of the text from two.xml",
        ),
    ],
)
def test_tei_text_that_is_elsewhere_is_refused(tmp_path, body, declared, message):
    with pytest.raises(InputError, match=f"a.xml: {message}"):
        read(tmp_path, body, head=DTD.format(declared))


def test_tei_what_the_header_lacks_is_not_missed(tmp_path):
    root = '<TEI><teiHeader>&unknown;<xi:include href="taxonomy.xml"/></teiHeader>'
    assert read(tmp_path, "<p>a</p>", head=DTD.format(""), root=root) == ["a"]


def test_tei_entities_that_multiply_are_refused(tmp_path):
    entities = '<!ENTITY a0 "aaaaaaaaaa">'
    entities += "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(9))
    with pytest.raises(InputError, match=r"a\.xml: line 1: .*entities"):
        read(tmp_path, "<p>&a9;</p>", head=f"<!DOCTYPE TEI [{entities}]>")


@pytest.mark.parametrize("n", [1, 7, 50])
def test_tei_text_does_not_depend_on_chunks(tmp_path, monkeypatch, n):
    body = '<p>exam-<lb break="no"/>ple <choice><sic>a b</sic><corr>c &mdash; d</corr></choice> <hi>e</hi>-f</p>'
    whole = read(tmp_path, body)
    monkeypatch.setattr("longspan.data.corpora.readers.tei._CHUNK", n)
    assert read(tmp_path, body) == whole == ["example c — d e-f"]


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (TEI.replace("</hi>", ""), r"line 5: malformed XML: mismatched tag at column"),
        (TEI[:-30], r"line 6: malformed XML: no element found"),
        ("", r"line 1: malformed XML"),
        ("<html><p>x</p></html>", r"holds no <text>"),
    ],
)
def test_bad_xml_is_named_with_its_line(tmp_path, xml, message):
    with pytest.raises(InputError, match=f"a.xml.*{message}"):
        documents(path=write(tmp_path / "a.xml", xml))


def test_json_lines(tmp_path):
    path = write(tmp_path / "a.jsonl.gz", '\ufeff{"text": "a\\n\\nb"}\n\n{"text": "c", "id": 1}')
    assert documents(path=path) == ["a\n\nb", "c"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"body": "x"}', r"line 3 has no field 'text'; it has 'body'.*text_field"),
        ('{"text": null}', r"line 3: 'text' holds NoneType, not text"),
        ('{"text": "x"', r"line 3 is not JSON: .* at column"),
        ("[1]", r"line 3 is not a JSON object but list"),
        ("[" * 100_000, r"line 3 is nested too deeply"),
    ],
)
def test_a_bad_json_line_is_named_with_its_number(tmp_path, line, message):
    with pytest.raises(InputError, match=rf"a.jsonl: {message}"):
        documents(path=write(tmp_path / "a.jsonl", '{"text": "x"}\n\n' + line + "\n"))


def test_parquet(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = [f"text {i}" for i in range(200)]
    pq.write_table(pa.table({"id": range(200), "body": texts}), tmp_path / "a.parquet", row_group_size=70)
    path = tmp_path / "a.parquet"
    assert documents(path=path, text_field="body") == texts
    with pytest.raises(InputError, match=r"a.parquet has no column 'text'; it has 'id', 'body'"):
        documents(path=path)
    with pytest.raises(InputError, match=r"column 'id' holds int64, not text"):
        documents(path=path, text_field="id")
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"cut.parquet cannot be read as Parquet"):
        documents(path=tmp_path / "cut.parquet")
    pq.write_table(pa.table({"text": ["x", None]}), tmp_path / "null.parquet")
    with pytest.raises(InputError, match=r"null.parquet: row 2 has no text in 'text'"):
        documents(path=tmp_path / "null.parquet")


@pytest.mark.parametrize("streaming", [True, False])
def test_data_sets_of_the_library_datasets(tmp_path, monkeypatch, streaming):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    write(tmp_path / "set" / "train.jsonl", "".join(json.dumps({"body": f"text {i}"}) + "\n" for i in range(3)))
    source = CorpusSource(path=str(tmp_path / "set"), format="hub", text_field="body", streaming=streaming)
    before = scan_source(source, [])
    texts = [text for _, fragments in before.fragments(ByteCounter()) for text, _ in fragments]
    assert texts == ["text 0", "text 1", "text 2"]
    assert scan_source(source, []).sha256 == before.sha256
    with pytest.raises(InputError, match="has no column 'text'"):
        documents(path=tmp_path / "set", format="hub")
    with pytest.raises(InputError, match=r"nosuch"):
        scan_source(source.model_copy(update={"split": "nosuch"}), [])


def test_a_folder_that_datasets_saved(tmp_path):
    import datasets

    datasets.disable_progress_bars()
    saved = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["a", "b"]})})
    saved.save_to_disk(tmp_path / "saved")
    assert documents(path=tmp_path / "saved") == ["a", "b"]
    with pytest.raises(InputError, match="has no split 'test'; it has train"):
        documents(path=tmp_path / "saved", split="test")


def test_files_of_folders_and_globs_come_in_order_of_their_names(tmp_path):
    for name in ("b/2.txt.gz", "a.jsonl", "b/1.txt", "b/picture.png", ".hidden/x.txt", "b/.y.txt"):
        write(tmp_path / name, "x")

    def names(files):
        return [str(file.path.relative_to(tmp_path)) for file in files]

    files, left_out = find_files(CorpusSource(path=str(tmp_path)))
    assert names(files) == ["a.jsonl", "b/1.txt", "b/2.txt.gz"]
    assert [file.format for file in files] == ["jsonl", "text", "text"]
    assert [path.name for path in left_out] == ["picture.png"]
    assert names(find_files(CorpusSource(path=str(tmp_path), format="text"))[0]) == ["b/1.txt", "b/2.txt.gz"]
    assert names(find_files(CorpusSource(path=f"{tmp_path}/**/*.txt*"))[0]) == ["b/1.txt", "b/2.txt.gz"]
    assert names(find_files(CorpusSource(path=f"{tmp_path}/b/*.png", format="text"))[0]) == ["b/picture.png"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("*.nothing", r"no file matches this pattern"),
        ("nothing.txt", r"no such file or folder"),
        ("x.png", r"its ending is of no known format; set format"),
        ("x.tar.xz", r"is an archive; unpack it"),
        ("empty", r"holds no file that ends in \.txt"),
    ],
)
def test_what_cannot_be_found_is_said(tmp_path, path, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.png").write_bytes(b"x")
    (tmp_path / "x.tar.xz").write_bytes(b"x")
    with pytest.raises(InputError, match=message):
        scan_source(CorpusSource(path=str(tmp_path / path)), [])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"path": "a.txt", "weight": 0}, r"source 2 \(a.txt\): weight: .*greater than 0"),
        ({"path": "a.txt", "weight": -1.0}, r"weight: .*greater than 0"),
        ({"path": "a.txt", "weight": float("nan")}, r"weight: "),
        ({"path": "a.txt", "wieght": 1}, r"wieght: "),
        ({"weight": 1}, r"source 2: path: "),
        ({"path": "a.txt", "fraction": 1.5}, r"fraction: "),
        ({"path": "a.xml", "format": "tei", "documents": "line"}, r"documents: line does not fit tei; it takes file"),
        ({"path": "a.txt", "format": "text", "streaming": True}, r"streaming is for data sets of the hub"),
    ],
)
def test_a_wrong_field_of_a_source_is_named(value, message):
    with pytest.raises(InputError, match=message):
        parse_sources(["fine.txt", value])


def test_a_corpus_needs_a_source():
    with pytest.raises(InputError, match="no sources"):
        parse_sources([])


def test_memory_of_reading_is_a_chunk_at_a_time(tmp_path):
    path = write(tmp_path / "a.txt", "x" * (3 << 20))
    assert max(len(chunk) for chunk in text_chunks(path, ByteCounter())) <= 1 << 20


def test_folders_of_a_corpus_not_searched_are_named(tmp_path, monkeypatch, caplog):
    for name in ("corpus/open/a.txt", "corpus/closed/b.txt", "elsewhere/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("words")
    (tmp_path / "corpus" / "linked").symlink_to(tmp_path / "elsewhere")

    def scan(path, scandir=os.scandir):
        if os.path.basename(path) == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    files, left_out = find_files(CorpusSource(path=str(tmp_path / "corpus")))
    assert [file.path.name for file in files] == ["a.txt"] and not left_out
    assert "closed cannot be read (Permission denied)" in caplog.text
    assert "linked is a link to a folder" in caplog.text
