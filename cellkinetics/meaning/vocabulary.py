"""The words by which a column that nothing reads gives itself away, in its heading and in its cells."""

from __future__ import annotations

import re

CENSORED = ("below", "blq", "above", "alq")
QUALIFIERS = {"<", ">", "<=", ">=", "≤", "≥", "=", "~", "≈", "lt", "gt", "le", "ge", "eq"}
LIMIT_WORDS = {"loq", "lod", "llq", "ulq", "lloq", "uloq", "llod", "cutoff", "threshold", "mdl"}
OF_LIMITS = {"quantification", "quantitation", "quantifiable", "detection", "detectable", "reporting", "assay"}
FLAG_WORDS = {"cens", "censored", "censor", "blq", "bloq", "bql", "lloq", "llq", "loq", "lod", "limit", "below", "nd"}
FLAG_WORDS |= {
    "detected",
    "detect",
    "detectable",
    "quantifiable",
    "quantified",
    "undetected",
    "nondetect",
    "nondetects",
}
FLAG_WORDS |= {"undetectable", "nonquantifiable", "uloq", "alq", "nondetected"}
OUT = {"excl", "exclude", "excluded", "exclusion", "exclfl", "ignore", "ignored", "drop", "dropped", "omit", "omitted"}
OUT |= {"reject", "rejected", "discard", "discarded", "invalid", "outlier", "fail", "failed", "unusable", "unreliable"}
OUT |= {"suspect", "contaminated", "haemolysed", "hemolyzed", "haemolyzed", "missing", "remove", "removed", "delete"}
IN = {"include", "included", "incl", "inclfl", "valid", "use", "used", "usable", "keep", "evaluable", "accepted"}
IN |= {"acceptable", "passed", "anl", "pkfl", "analysed", "analyzed"}
OUT_CELLS = {
    "exclude",
    "excluded",
    "invalid",
    "not valid",
    "fail",
    "failed",
    "reject",
    "rejected",
    "discard",
    "discarded",
}
OUT_CELLS |= {"omit", "outlier", "do not use", "not usable", "unusable", "unreliable", "haemolysed", "hemolyzed"}
OUT_CELLS |= {"not reportable", "qns", "not done"}
IN_COMMENTS = re.compile(
    r"\b(?:below|under|<)\s*(?:the\s*)?(?:ll?oq|lod|limit|quantif|detection)|\b(?:blq|bloq|bql)\b|"
    r"\bnot (?:detected|detectable|quantifiable|quantified|valid|reportable)\b|\bdo not use\b|"
    r"\b(?:exclude|invalid|discard|reject)(?:d|ed)?\b|\bll?oq\s*[=:]",
    re.IGNORECASE,
)
ENDPOINTS = {"cmt", "compartment", "param", "paramcd", "parameter", "pctest", "pctestcd", "test", "testcd", "testname"}
ENDPOINTS |= {"analyte", "assay", "endpoint", "measure", "measurement", "marker", "gene", "variable", "obsname"}
ENDPOINTS |= {"observation", "dvname", "yname", "specimen", "spec", "pcspec", "lbspec", "matrix", "tissue", "material"}
ENDPOINTS |= {"fluid", "organ", "compartments", "platform", "analyt", "lbtest", "lbtestcd", "sampletype", "obsid"}
OF_ENDPOINTS = {"name", "type", "code", "cd", "id", "sample", "of", "dv", "label"}
SPECIMENS = {
    "blood": "blood", "pb": "blood", "pbmc": "pbmc", "pbmcs": "pbmc", "plasma": "plasma", "serum": "serum",
    "marrow": "marrow", "bm": "marrow", "bmmc": "marrow", "csf": "csf", "cerebrospinal": "csf", "tumor": "tumour",
    "tumour": "tumour", "biopsy": "biopsy", "node": "node", "urine": "urine", "ascites": "ascites", "saliva": "saliva",
    "spleen": "spleen", "tissue": "tissue", "skin": "skin", "liver": "liver", "pleural": "pleural",
}  # fmt: skip
ANALYTES = re.compile(
    r"q?pcr|ddpcr|\bflow\b|facs|\bcar\b|car-?t|car-?nk|copies|transgene|\bvcn\b|\bcd\d+\b|"
    r"b[ -]?cells?|t[ -]?cells?|nk[ -]?cells?|"
    r"\bil-?\d+|crp|ferritin|\bifn|tnf|cytokine|\bm-?protein|blast|bcma|viral|\bdna\b|\brna\b|lympho|leuko|wbc",
    re.IGNORECASE,
)
REPLICATES = {
    "well",
    "wells",
    "replicate",
    "replicates",
    "rep",
    "run",
    "plate",
    "tube",
    "aliquot",
    "duplicate",
    "repeat",
}
REPLICATES |= {
    "sample",
    "sampleid",
    "barcode",
    "accession",
    "operator",
    "comment",
    "comments",
    "note",
    "notes",
    "batch",
}
REPLICATES |= {
    "extraction",
    "dilution",
    "position",
    "technician",
    "analyst",
    "instrument",
    "kit",
    "lot",
    "lab",
    "site",
}
INFUSION = {
    "infusion",
    "inf",
    "of",
    "dose",
    "dosing",
    "time",
    "length",
    "iv",
    "the",
    "admin",
    "administration",
    "tinf",
}
CODES = {"flag", "code", "status", "stat", "qual", "remark", "fl", "ind", "indicator", "quality", "qc", "type", "note"}
