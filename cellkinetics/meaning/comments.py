"""Comments beside values: those that say that a value is censored, spoilt, of another sample, or not to be used."""

from __future__ import annotations

import re

from cellkinetics.meaning import vocabulary

IN_COMMENTS = re.compile(
    r"\b(?:below|under|<)\s*(?:the\s*)?(?:ll?oq|lod|limit|quantif|detection|report\w*|(?:standard|calibration) curve)|"
    r"\btoo low (?:to|for)\b|\b(?:outside|beyond|out of|off)\s*(?:of\s*)?(?:the\s*)?"
    r"(?:standard|std|calibration|linear)\b|"
    r"\b(?:blq|bloq|bql)\b|"
    r"\bnot (?:detected|detectable|quantifiable|quantified|valid|reportable)\b|\bdo not use\b|"
    r"\b(?:exclude|invalid|discard|reject)(?:d|ed)?\b|\bll?oq\s*[=:]|\bextrapol\w+|\bll?oq\s*/\s*2|"
    rf"(?:<|\b(?:{vocabulary.UNDER[2:]}))\W+(?:(?:{vocabulary.BETWEEN_WORDS})\W+)*"
    rf"(?:{vocabulary.OF_DETECTION}|{vocabulary.OF_QUANTITY})\b|"
    rf"\b(?:{vocabulary.NOT}) (?:{vocabulary.DETECTED})\b|\bnicht (?:verwenden|verwertbar|auswerten)|\bungu?e?ltig|"
    r"\bausgeschlossen",
    re.IGNORECASE,
)
# A sample that is spoilt, another patient's, of another specimen, or of a run that failed; and what is said of such.
SPOILT_IN_COMMENTS = re.compile(
    r"\b(?:sample|tube|specimen|edta|probe|rohrchen|echantillon|muestra|campione)\b[^.;]*\b(?:clotted|coag\w*|geronnen|"
    r"h(?:a|e|ae|emo|amo)\w*l[yi]\w*|lost|mixed up|swapped|vertauscht|verwechselt|contaminated|degraded|"
    r"insufficient)\b|"
    r"\bmis-?labell?ed\b|\bwrong (?:patient|sample|tube|label)\b|\b(?:tubes?|samples?|labels?) (?:mix(?:ed)?|swapp?ed)|"
    r"\b(?:un(?:reliable|usable)|implausible|unplausibel|not plausible|nicht (?:plausibel|auswertbar))\b|"
    r"\b(?:qc|run|q?pcr|assay|extraction|amplification|controls?|ntc|calibration)\b\W*(?:has |have |was )?"
    r"fail(?:ed|s)?\b|"
    r"\bfail(?:ed|s)? (?:the )?(?:qc|quality|run|amplification|extraction)\b|\bntc positive\b|"
    r"^(?:value |result |sample |copies |q?pcr )?(?:is |was )?(?:below|under|outside|out of|above|unter|hors)\s"
    r"(?:the |assay |measuring |linear |reportable |dynamic )*(?:range|messbereich|gamme)\b|"
    r"\bestimated (?:from|by|off)\b|^estimated(?: value)?$|"
    r"\b(?:drawn|taken|collected|obtained|sampled|entnommen|prelevee?s?|extraid[ao])\b.{0,20}"
    r"\b(?:marrow|knochenmark|moelle|medula|midollo|csf|liquor|lcr|lymph node|biopsy)\b|"
    r"\b(?:from|aus dem|aus) (?:the )?(?:bone )?(?:marrow|knochenmark|csf|liquor)\b|"
    r"\bnot for (?:analysis|use|fitting)\b|\b(?:do not|don.?t) (?:analy[sz]e|include|report|fit|use)\b|"
    r"\bto be (?:excluded|ignored|repeated)\b|\brepeat (?:needed|required)|"
    r"\bignore (?:this|the|value|sample|result|point)\b|"
    r"\b(?:a exclure|ne pas (?:utiliser|analyser)|inexploitable|non exploitable|excluir|no (?:usar|valorable)|"
    r"non (?:usare|valutabile)|da escludere)\b"
)
# What was looked at by other means, or is another finding: "not detected by PET" is no mark of a value.
_NOT_OURS = re.compile(
    r"\bnot (?:detected|detectable)\b.*\b(?:pet|ct|mri|scan|imaging|ultrasound|biopsy|culture|physical|cytology)\b|"
    r"\b(?:relapse|disease|tumou?r|lesions?|infection|virus|cmv|ebv|antibod\w*|toxicit\w*|fever)\b.*"
    r"\bnot (?:detected|detectable)\b|"
    r"\b(?:crp|ferritin|il-?\d+|ldh|wbc|anc|alc|platelets|creatinine|igg|pct|hb)\b\W*(?:is |was )?(?:below|under|<)\W*"
    r"(?:the )?\w+"
)


def in_comment(text: str) -> bool:
    """Whether a folded comment says of its value that it is censored or not valid.

    >>> [in_comment(text) for text in ("too low to quantify", "not detected by pet", "not detected")]
    [True, False, True]
    """
    ours = _NOT_OURS.sub("", text)
    return IN_COMMENTS.search(ours) is not None or SPOILT_IN_COMMENTS.search(ours) is not None
