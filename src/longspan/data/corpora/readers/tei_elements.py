"""Sets of TEI elements by their place in running text, derived from the classes of TEI P5 4.9.0 (October 2024).

The comment of each set lists its classes. Sets contain elements that can occur inside <text>. An element in none of the
sets is within the line if its parent has text, and on separate lines if its parent has elements only.
"""

# Always on separate lines. model.divPart (and so model.pLike, model.lLike, model.divPart.spoken),
# model.divLike, model.div1Like to model.div7Like (and div0 of P4), model.divTop, model.divBottom, model.frontPart,
# model.titlepagePart, model.pLike.front, model.listLike, model.entryLike, model.cmc and <text>; without docAuthor,
# docDate and meeting, which a line can hold; with the parts of these that are in no class.
OWN_LINES = frozenset(
    """
    ab annotationBlock argument back body byline castGroup castItem castList cell closer dateline div div0 div1 div2
    div3 div4 div5 div6 div7 docEdition docImprint docTitle eTree entry entryFree epigraph epilogue forest front
    graph group head headItem headLabel imprimatur item l lg list listBibl listEvent listForest listNym listObject
    listOrg listPerson listPlace listRelation listWit opener p performance post postscript prologue row salute set
    signed sp spGrp speaker superEntry table text titlePage titlePart trailer tree u
    """.split()  # noqa: SIM905 - a table of words
)

# Always within a line. model.phrase (and so model.segLike, model.hiLike, model.pPart.edit,
# model.pPart.transcriptional, model.nameLike, ...), model.gLike, model.linePart, model.lPart, model.rdgPart,
# model.rdgLike with lem, and model.global (model.milestoneLike, model.global.edit, model.global.spoken); without what
# is also in model.common (q), and what is left out.
WITHIN_LINES = frozenset(
    """
    abbr add addName addSpan address affiliation am anchor app att bloc c caesura catchwords cb choice cl climate
    code corr country damage damageSpan date delSpan depth dim dimensions distinct district ellipsis email emph
    eventName ex expan figure foreign forename formula g gap gb genName geo geogFeat geogName gi gloss graphic
    handShift height heraldry hi ident idno incident kinesic lacunaEnd lacunaStart lang lb lem listRef location
    locus locusGrp m material measure measureGrp media mentioned milestone mod name nameLink notatedMusic num oRef
    objectName objectType offset orgName orig origDate origPlace pRef pause pb pc persName persPronouns phr
    placeName population ptr rdg redo ref reg region restore retrace rhyme roleName rs ruby s secFol secl seg
    settlement shift sic signatures soCalled space specDesc specList stamp state subst supplied surname tag term
    terrain time title trait unclear undo unit val vocal w watermark width witEnd witStart writing
    """.split()  # noqa: SIM905 - a table of words
)

# Separate from the words around them, within a line or not: elements with text that are in neither set above.
# model.inter (stage directions, references) and the parts of references, cast lists, dictionaries and descriptions;
# without quotations, which stand inside quotation marks, and parts of words.
CHUNKS = frozenset(
    """
    accMat acquisition activity actor additions addrLine age author authority bibl biblScope birth camera caption
    case change channel citedRange classCode collation collection colloc colophon condition constitution creation
    custEvent death decoNote def defaultVal derivation desc dictScrap distributor domain edition editor education
    etym explicit extent f factuality faith filiation finalRubric floruit foliation form funder gen gender gram
    gramGrp handNote iType incipit institution interaction label langKnown language layout lbl locale mood msName
    musicNotation nationality number occupation origin orth per pos postBox postCode preparedness principal pron
    provenance pubPlace publisher purpose re repository residence resp role roleDesc rubric scriptNote sense series
    sex socecStatus sound source sponsor stage street subc summary support surrogates tech textLang tns typeNote usg
    view witness xr
    """.split()  # noqa: SIM905 - a table of words
)

# Elements whose content model has no text: white space in them is ignored, and their children are separate.
ELEMENTS_ONLY = frozenset(
    """
    abstract additional address adminInfo altIdentifier analytic annotationBlock arc argument availability back
    biblFull biblStruct binding bindingDesc body broadcast calendar calendarDesc castGroup castList cit climate
    correspAction correspContext correspDesc custodialHist decoDesc dimensions div div0 div1 div2 div3 div4 div5
    div6 div7 docTitle eLeaf eTree editionStmt ellipsis entry epigraph epilogue equipment event figure fileDesc
    floatingText forest front gap graph graphic group handDesc handNotes history hom iNode imprint incident keywords
    kinesic langKnowledge langUsage layoutDesc leaf lg list listBibl listChange listEvent listForest listNym
    listObject listOrg listPerson listPlace listRef listRelation listWit location locusGrp media monogr msContents
    msDesc msFrag msIdentifier msItem msItemStruct msPart node notatedMusic notesStmt nym object objectDesc
    objectIdentifier org particDesc performance person personGrp persona physDesc place population postscript
    profileDesc prologue publicationStmt recordHist recording recordingStmt relatedItem relation respStmt root row
    scriptDesc scriptStmt seal sealDesc seriesStmt set setting settingDesc sourceDesc sp spGrp space specList state
    superEntry supportDesc table terrain text textClass textDesc titlePage titleStmt trait transpose tree triangle
    typeDesc vAlt vColl vLabel vMerge vNot vocal
    """.split()  # noqa: SIM905 - a table of words
)

# As above, but their children are alternatives or belong to one word.
TIGHT = frozenset({"app", "choice", "rdgGrp", "ruby", "subst"})

# Elements whose text is left out: editors' notes, remarks and marks, and annotations (all of model.global.meta).
LEFT_OUT = frozenset(
    """
    alt altGrp binaryObject certainty del fLib figDesc fs fvLib fw index interp interpGrp join joinGrp link linkGrp
    listApp listTranspose metamark note noteGrp precision respons rt span spanGrp substJoin surplus teiHeader
    timeline wit witDetail
    """.split()  # noqa: SIM905 - a table of words
)
