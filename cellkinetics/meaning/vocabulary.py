"""The words by which a column that nothing reads gives itself away, in its heading and in its cells.

In English, German, French, Spanish and Italian, without accents: they are compared with `folded` texts.
"""

from __future__ import annotations

import re
import unicodedata


def folded(text: str) -> str:
    """A text as the words here are written: lower case, without accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def words_between(words: str) -> frozenset[str]:
    """Words between commas, as a set."""
    return frozenset(word.strip() for word in words.split(","))


_set = words_between


# Below the limit, in words. NG and NWG are Nachweisgrenze, BG is Bestimmungsgrenze, LQ, LIQ and LIC limits of
# quantification in French and Spanish.
UNDER = (
    r"<|below|under|less|lower than|smaller|unter(?:halb)?|kleiner|sous|dessous|inferieur\w*|inferior\w*|menor|debajo|"
    r"bajo|sotto|minore|onder|abaixo|ponizej"
)
OF_DETECTION = r"ll?od|lod|nwg|ng|ldd?|nachweis\w*|detec\w*|detek\w*|rilev\w*|dosab\w*"
OF_QUANTITY = (
    r"ll?oq|llq|liq|lic|ldq|lq|bg|bestimmungs\w*|quant\w*|cuant\w*|limit\w*|grenz\w*|lim|bepaling\w*|oznacz\w*"
)
BETWEEN_WORDS = (
    ""
    "the|than|of|a|al|do|dla|granic\\w*|alla|als|der|die|das|des|dem|den|du|de|del|della|la|le|il|el|lo|di|d|l|que|en|au|por|untere|unteren|"
    "lower|assay|range|reporting|it|is|e|est|es|ist|result|value|valeur|wert|valor|valore"
)
NOT = "not|nicht|non|no|pas|kein|keine"
DETECTED = r"nachweis\w*|detec\w*|detek\w*|rilev\w*|quantif\w*|cuantif\w*|dosab\w*|messbar"
_UNDER_A_LIMIT = re.compile(rf"(?=.*(?:^|\W)(?:{UNDER}))(?=.*\b(?:{OF_DETECTION}|{OF_QUANTITY})\b)")
_ONE = re.compile(rf"<|\b(?:{UNDER[2:]}|{OF_DETECTION}|{OF_QUANTITY}|{BETWEEN_WORDS})\b")
_UNSEEN = re.compile(rf"(?:{NOT}) (?:{DETECTED})|n\.? ?n\.?|in[dc]\w*tec\w*")
_UNQUANTIFIED = re.compile(r"quant|cuant|bestimm|(?<!n)lo?q|loq|li[qc]|bg|grenz|limit")


def below_in_words(text: str) -> str:
    """What a cell says in words alone: "blq", "nd", "unseen" (not detected, of whatever), or "".

    >>> [below_in_words(text) for text in ("< Bestimmungsgrenze", "inférieur à la LD", "n.n.", "unter Therapie")]
    ['blq', 'nd', 'unseen', '']
    """
    low = re.sub(r"[\s_]+", " ", folded(text)).strip()
    # Comments are long and numbers are none: neither is one of these marks.
    if len(low) > 60 or not low or re.search(r"\d", low):
        return ""
    if _UNSEEN.fullmatch(low):
        return "blq" if re.search("quant|cuant", low) else "unseen"
    if _UNDER_A_LIMIT.search(low) and not re.sub(r"[\W]", "", _ONE.sub("", low)):
        detection = re.search(rf"\b(?:{OF_DETECTION})\b", low) and not re.search(r"quant|cuant|bestimm|oq\b", low)
        return "nd" if detection else "blq"
    return ""


# Flags of CDISC by which rows are used: PKANLFL, ANL01FL, PKEVAL, ITTRFL.
USED_FLAGS = re.compile(r"(?:pk|pd|pp|ck|a)?(?:anl|anal|eval|evlb|incl|valid)\d*(?:fl|flag)?")
# Yes and no of a flag, as `cells.YES` and `cells.NO` and in codes of laboratories.
POSITIVE = _set("p, pos, positive, positiv, positif, positivo")
NEGATIVE = _set("neg, negative, negativ, negatif, negativo, none, normal, keine, aucun")
# Cells that say of the lowest values that they are no measurements.
LOW_CELLS = _set(
    "low, l, ll, u, j, uj, indeterminate, equivocal, extrapolated, extrapoliert, extrapole, imputed, estimated, "
    "kleiner, inferieur, inferior, inferiore, menor, unter, sous, below, less, under, niedrig, bas, bajo, basso, "
    "grenzwertig, trace, traces, spur, spuren, censored, zensiert, censure, censurado, nq, lt, unterhalb, sotto, "
    "debajo, detectable, less than, lower than, upper bound, upper limit, halflloq, half lloq, lloq/2, 1/2 lloq, *, †, "
    "sub-lloq, sublloq, unquantifiable, qualitative, semi-quantitative, extrap"
)
# Headings of a verdict on a value.
VERDICTS = _set(
    "call, interpretation, interp, ergebnis, befund, bewertung, resultat, resultado, esito, m, qual, qualitative, "
    "delta, dvtype, nrind, lbornrind, lbnrind, lt, op, operator, zeichen, det, neg, negative, amplified, "
    "detection, quantification, quantitation, prefix, footnote, reportable, uncensored, dtype, measured, quantitative, "
    "amplification, imputed, imputation, substituted, replaced, ersetzt, imputiert, impute, imputado"
)
# Headings that name the assay alone, and words for a sample that was not taken.
ASSAYS = _set("pcr, qpcr, ddpcr, dpcr, rtpcr, assay, target, signal, transgene, car, amp, rxn, test, finding, readout")
NOT_DONE = re.compile(
    r"^(?:nd|na|n/a|nk|unk|mis|ns|qns|off)$|miss|lost|not? (?:done|sample|taken|drawn|collected|available|show)|"
    r"with?draw|died|death|dead|discont|insuff|fail|pending|cancel|progress|relapse|dropped|refus|verloren|entfallen"
)
# What changes with time as the curve does, and says nothing of it.
HARMLESS = _set(
    "response, remission, relapse, disease, tumor, tumour, mrd, visit, phase, period, cycle, treatment, therapy, "
    "therapie, traitement, tratamiento, terapia, medication, comedication, steroid, steroids, toci, tocilizumab, "
    "fever, crs, icans, grade, infection, hospital, ward, patient, inpatient, outpatient, ansprechen, reponse, "
    "respuesta, risposta, visite, zyklus, krankheit, maladie, site, age, epoch, week, month, transfusion, ventilation"
)
# What a table of patients holds beside their samples: any of these words says that a column is none of them.
OF_PATIENTS = _set(
    "age, alter, edad, eta, leeftijd, sex, gender, geschlecht, sexe, sexo, sesso, weight, gewicht, poids, peso, wt, "
    "bw, height, grosse, taille, talla, altezza, bmi, bsa, bsv, dose, doses, dosis, amt, infused, cells, n, number, "
    "num, anzahl, to, since, until, contact, bis, seit, nombre, numero, count, lines, line, prior, "
    "previous, vortherapien, linien, lignes, cycles, ecog, kps, "
    "karnofsky, stage, stadium, score, grade, index, ipi, status, tumor, tumour, tumorlast, burden, size, volume, "
    "blasts, disease, response, remission, relapse, survival, pfs, os, efs, dor, ttp, months, weeks, years, hours, "
    "duration, dauer, duree, time, zeit, stay, los, icu, hospital, site, center, centre, zentrum, batch, lot, charge, "
    "product, viability, vcn, transduction, purity, ratio, hla, kir, match, mismatch, donor, spender, year, jahr, "
    "birth, cohort, arm, group, gruppe, groupe, id, nr, no, mrn, code, study, protocol, peak, cmax, tmax, auc, cavg, "
    "clast, ctrough, max, min, mean, median, total, sum, sd, se, cv, halflife, slope, doubling, spleen, bsl, flu, cy, "
    "fludarabine, melphalan, tocilizumab, steroid, steroids, dexamethasone, cytokine, lymphocyte, lymphocytes, "
    "leukocyte, leukocytes, leukozyten, lymphozyten, thrombozyten, erythrozyten, hemoglobin, haemoglobin, "
    "hamoglobin, kreatinin, creatinine, serum, plasma, pressure, bp, pulse, temperature, race, ethnicity, bilirubin, "
    "ferritin, protein, igg, albumin, percent, pct, fold, day, days, tag, tage, jours, dias, date, income, zip, "
    "postcode, phenotype, genotype, expression, antigen, density, infection, crs, icans"
)
# Another laboratory value, whose limits, units and results are its own.
OTHERS = _set(
    "ada, antibody, antibodies, nab, culture, cultures, pet, cytokine, cytokines, serum, soluble, serology, "
    "ct, cq, crp, il, ifn, tnf, ferritin, ldh, hb, hgb, wbc, anc, alc, plt, platelets, hematocrit, creatinine, "
    "bilirubin, alt, ast, albumin, igg, iga, igm, glucose, sodium, leukocytes, lymphocytes, neutrophils, monocytes, "
    "fibrinogen, troponin, procalcitonin, pct, age, weight, height, bmi, temperature, temp, bp, spo, urea, psa, afp, "
    "paraprotein, mrd, mri, blasts, ddimer, egfr, gfr, tacrolimus, fludarabine"
)
VIRUSES = _set("cmv, ebv, hhv, bkv, bk, adv, hiv, hbv, hcv, hsv, vzv, jcv, virus, viral, covid")
OURS = _set("copies, car, transgene, qpcr, ddpcr, dv, vcn, transgen, copias, copie, kopien")


# Grades and sides, among which low is another: of "low" beside them a heading says what is low.
GRADES = _set(
    "high, medium, intermediate, moderate, normal, r, right, good, fair, elevated, severe, hoch, mittel, rechts, alto, "
    "medio, haut, eleve, gut, very high, h, m"
)


def of_another(name: str, words: set[str]) -> bool:
    """Whether a heading is that of another laboratory value, such as CRP_LLOQ, age_unit or CMV PCR."""
    if words & (VIRUSES | {"ada", "antibody", "antibodies", "nab"}):
        return True
    return (
        bool(words & OTHERS or re.search(r"(?:^|[^a-z])(?:cd\d|b[ _-]?cells?)", name.casefold())) and not words & OURS
    )


CENSORED = ("below", "blq", "above", "alq")
QUALIFIERS = _set("<, >, <=, >=, ≤, ≥, =, ~, ≈, lt, gt, le, ge, eq")
CYCLES = _set("ct, cq, cp, cycle, cycles")
LIMIT_WORDS = _set(
    "loq, lod, llq, ulq, lloq, uloq, llod, cutoff, threshold, mdl, bestimmungsgrenze, nachweisgrenze, "
    "quantifizierungsgrenze, lq, liq, lic, nwg, ldq, ldd, bepalingsgrens, detectiegrens, kwantificatiegrens, "
    "aantoonbaarheidsgrens, kvantifieringsgrans, detektionsgrans, lld, qlim, qlimit, qmin, qthreshold, lobq, detlim, "
    "hloq, lloqn, uloqn, llodn, loqn"
)
# Limits in several words, of a heading whose words are parted by "_".
LIMIT_PHRASES = re.compile(
    r"(?:^|_)(?:cut_off|cutoff|(?:assay|lower|min|minimum|detection|quant\w*)_(?:lower_)?bound|"
    r"(?:low|lower|lowest|min|minimum|bottom)_(?:standard|calibrator|std|cal|point_of_curve|quant\w*|detect\w*)|"
    r"(?:quantif\w*|quant|detect\w*|det|report\w*|assay)_(?:limit\w*|lim|threshold|floor)|"
    r"(?:assay|qpcr|pcr|method|kit)_(?:min|max|minimum|maximum|low|lower|high|upper|floor)|"
    r"(?:low|lower|lowest|min|minimum|high|highest|max|maximum)_(?:q|cut|measur\w*|report\w*|quant\w*|detect\w*)|"
    r"(?:q|blq|bql|bloq|alq|measur\w*|quant\w*|detect\w*|report\w*)_(?:min|minimum|floor|cut|cutoff|cut_off|limit|level)|"
    r"(?:[a-z]{2})?(?:ll?oq|uloq|hloq|llod|llq|ulq)(?:n|_?(?:val|value|num|level|conc))?|"
    r"lim(?:it[ae]?)?_(?:inf|min|low|de_det|de_quant|det|quant)\w*)(?:_|$)"
)
# Words that are limits where the column has few distinct numbers.
LIMIT_LIKE = _set(
    "ql, lql, qll, uql, ulql, hql, "
    "limit, limits, limite, limites, lim, ll, grenze, grenzwert, rl, mrl, bg, ng, schwelle, seuil, umbral, soglia, "
    "sensitivity, sensibilite, sensibilidad, sensibilita, empfindlichkeit, quantifiable, reportable, detectable, "
    "quantifizierbar"
)
BESIDE_LIMITS = _set(
    "q, quant, det, de, di, of, der, des, la, du, d, l, min, minimum, lowest, lower, untere, inferieure, inferior, "
    "inferiore, assay, "
    "run, test, reporting, report, detection, quantification, quantificazione, cuantificacion, deteccion, qpcr, pcr, "
    "copies, ug, per, analytical, method, methode, kit, plate, dv, value, rilevazione, rilevabilita, dosage, upper, "
    "obere, superieure, superior, superiore, car, transgene, lab, site, dna"
)
# Of an upper limit, and of one of detection.
UPPER = _set(
    "upper, max, maximum, highest, high, uloq, ulq, uql, hloq, hql, ulql, uloqn, obere, superieure, superior, superiore"
)
DETECTING = _set(
    "lod, llod, lld, ldd, det, detlim, detect, detection, detectable, mdl, nwg, nachweisgrenze, deteccion, "
    "rilevazione, rilevabilita, sensitivity, sensibilite, sensibilidad, empfindlichkeit"
)
OF_LIMITS = _set("quantification, quantitation, quantifiable, detection, detectable, reporting, assay")
FLAG_WORDS = _set(
    "cens, censored, censor, blq, bloq, bql, blloq, lloq, llq, loq, lod, llod, bdl, bld, limit, below, nd, detected, "
    "detect, detectable, "
    "quantifiable, quantified, undetected, nondetect, nondetects, undetectable, nonquantifiable, uloq, alq, "
    "nondetected, nachweisbar, quantifizierbar, detektierbar, messbar, nachgewiesen, detecte, detectee, detectado, "
    "detectada, cuantificable, rilevato, rilevabile, quantificabile, quantifie, liq, lic, nwg, bestimmungsgrenze, "
    "nachweisgrenze, limite, zensiert, censure, censurado"
)
# Of these headings yes means measured.
SEEN_WORDS = _set(
    "detected, detect, detectable, quantifiable, quantified, nachweisbar, quantifizierbar, detektierbar, messbar, "
    "nachgewiesen, detecte, detectee, detectado, detectada, quantifie, cuantificable, rilevato, rilevabile, "
    "quantificabile"
)
# Beside the words of a flag and of rows in the heading of a flag, and that alone.
BESIDE_FLAGS = _set("yn, flg, lt, sub, is, has, lab, laboratory, labor, was, value, cat, category, pos, neg, or, and")
# Headings of a verdict of which yes means measured.
MEASURED_WORDS = _set(
    "positive, positiv, positif, positivo, pos, measurable, evaluable, mesurable, medible, misurabile, detection, "
    "amplified, amplification, reportable, measured, quantitative, uncensored"
)
# What a flag says of a sample that was measured, and of one that was not.
FLAG_SEEN = _set(
    "quantified, quantifiable, quantifiziert, quantifie, d, q, detected, detectable, measured, measurable, observed, "
    "nachweisbar, nachgewiesen, messbar, detecte, ok, valid, normal, uncensored, above, =, eq"
)
FLAG_UNSEEN = _set(
    "nq, nd, unquantified, undetected, undetectable, not detected, not quantified, not measurable, bql, <"
)
# Of these cells no other thing is said than that a value lies below a limit, whatever the heading.
FLAG_BELOW = _set(
    "below, under, nq, lt, unquantifiable, unquantified, not quantified, not quantifiable, sub-lloq, sublloq, "
    "unterhalb, less than, lower than, censored, zensiert, censure, censurado"
)
UNDER_WORDS = _set(
    "under, below, less, unter, unterhalb, kleiner, sous, dessous, inferieur, inferieure, inferior, menor, debajo, "
    "bajo, sotto, minore, inferiore"
)
# Of these headings yes means above a limit, of the upper one or, measured, of the lower one.
UPPER_FLAGS = _set("uloq, alq, ulq, aloq, uql, hloq")
OVER_WORDS = _set(
    "over, above, exceeds, greater, higher, uber, uberhalb, oberhalb, dessus, encima, sopra, not, non, no"
)
OF_FLAGS = _set("ng, bg, lq, ld, lod, loq, lloq, grenze, limit, limite, ldd, ldq, lim")
OUT = _set(
    "excl, exclude, excluded, exclusion, exclfl, ignore, ignored, drop, dropped, omit, omitted, reject, rejected, "
    "discard, discarded, invalid, outlier, fail, failed, unusable, unreliable, suspect, contaminated, haemolysed, "
    "hemolyzed, haemolyzed, missing, remove, removed, delete, ausschluss, ausgeschlossen, ausschliessen, ausreisser, "
    "ungultig, ungueltig, verwerfen, verworfen, exclu, exclue, exclus, exclure, invalide, aberrant, rejete, ecarte, "
    "excluido, excluida, excluir, descartar, descartado, invalido, escluso, esclusa, escludere, scartato, rifiutato, "
    "skip, skipped, mask, masked, nofit, hide, hidden, unused, notused, dontuse, noanalysis, sauter, omitir, "
    "strike, struck, strikeout, strikethrough, gestrichen, durchgestrichen, barre, tachado, "
    "bad, qns, nok, clotted, clot, failure, hemolysed, lipemic, hamolytisch, hemolyse, geronnen, dup, dups, dupe, "
    "duplicate, duplicated, duplicates, doublette, doppelt, doublon, duplicado, duplicato, disregard, disregarded, "
    "void, voided, retract, retracted, supersede, superseded, del, problem, problems, anomaly, anomalous, error, "
    "errors, "
    "erroneous, nonevaluable, unevaluable, noneval, withdrawn, flagged, nullified, revoked, obsolete, replaced, "
    "qcfail, "
    "qcfailed, artefact, artifact, implausible, dubious, doubtful"
)
# Words of leaving out and using that mean so beside a word for a row, a sample or an assay only: a dropped haemoglobin
# and a failed treatment are none.
LOOSE_WORDS = _set(
    "problem, problems, error, errors, withdrawn, flagged, del, void, anomaly, replaced, doubtful, "
    "drop, dropped, missing, fail, failed, failure, remove, removed, outlier, bad, use, used, keep, passed, suspect, "
    "delete, deleted, good, valid, included, analysed, analyzed, clot, contaminated, verwenden, verwendet, utiliser, "
    "utilise, usar, usare, aberrant, accepted, ok, skip, skipped, mask, masked, hide, hidden, pass, fit, fitted, "
    "analyse, analyze"
)
# Of a patient these say something else: fit, masked to the treatment.
OF_A_SAMPLE = _set("fit, fitted, skip, skipped, mask, masked, hide, hidden, pass, analyse, analyze")
OF_ROWS = _set(
    "row, rows, record, records, sample, samples, value, values, point, points, data, result, results, dv, obs, "
    "observation, measurement, pcr, qpcr, assay, run, plate, well, qc, extraction, dna, control, quality, flag, fl, "
    "is, for, in, to, be, from, analysis, pk, fit, fits, model, do, not, non, nicht, ne, pas, no, the, of, or, if, "
    "as, probe, messung, wert, echantillon, analyse, muestra, campione, zeile, ligne, subject, technical, suspected, "
    "possible, amplification, ntc, curve, status, code, reported, report, ck, set, population, final, dataset"
)
IN = _set(
    "include, included, incl, inclfl, valid, use, used, usable, keep, evaluable, accepted, acceptable, passed, anl, "
    "pkfl, analysed, analyzed, gultig, gueltig, verwendbar, verwenden, verwendet, brauchbar, auswertbar, valide, "
    "utilisable, utiliser, valido, valida, utilizable, usar, utilizzabile, usare, useable, reliable, good, pprotfl, "
    "qcpass, qcpassed, qcok, pass, fit, fitted, infit, analyse, analyze, inclus, incluido, incluso, "
    "eingeschlossen, evaluierbar, ok"
)
OUT_CELLS = _set(
    "exclude, excluded, invalid, not valid, fail, failed, reject, rejected, discard, discarded, omit, outlier, do not "
    "use, not usable, unusable, unreliable, haemolysed, hemolyzed, nok, not ok, n.i.o., ko, clotted, clot, "
    "coagulated, geronnen, koaguliert, coagule, hemolysed, hemolyzed sample, hamolytisch, hamolysiert, hemolyse, "
    "emolizzato, hemolizado, ungultig, ungueltig, nicht verwertbar, nicht verwenden, ausschluss, invalide, non "
    "valide, inutilisable, void, voided, retracted, superseded, disregard, erroneous, anomalous, implausible, "
    "invalido, no valido, non valido, exclu, excluido, escluso, qc fail, qc failed, not "
    "reportable, qns, not done, #"
)
# Of a heading of rows alone: the quality of a sample, the status of a report.
LOOSE_OUT_CELLS = _set(
    "poor, bad, preliminary, prelim, provisional, unacceptable, unsatisfactory, inadequate, insufficient, "
    "questionable, schlecht, ungenugend, vorlaufig, mauvais, mauvaise, provisoire, insuffisant, mala, malo, "
    "scarso, draft, *, **, †, ‡, !, !!, ?"
)
# Of a status, a flag or a quality: the number is to come again.
REPEAT_CELLS = _set(
    "repeat, rerun, re-run, retest, to repeat, repeat needed, wiederholen, a repeter, repetir, ripetere"
)
# Wells and standards of the run, and the limit as a row of a wide table.
CONTROL = re.compile(
    r"ntc\W*\d*|nrt|no[ _-]?template.*|blank[ _-]?\d*|leerwert|water|h2o|ll?oq|lod|uloq|detection limit|nachweisgrenze|"
    r"(?:(?:neg|pos)(?:ative|ativ|itive|itiv)?|water|blank|buffer|pcr|extraction)?[ _.-]*"
    r"(?:ctrl|ctl|control|kontrolle|controle?)s?[ _-]?\w?|qc[ _-]?(?:l|m|h|low|mid|medium|high|hi|lo|\d)?|[lmh]qc|"
    r"(?:std|standard|calibrator)[ _-]?\d{0,2}|cal[ _-]?\d",
    re.IGNORECASE,
)
# Headings of what a row is in a run, and those under which a standard is one of care.
ROLES = _set("role, rolle, task, control, controls, content, type, kontrolle, controle, category, class, samptype")
OF_CARE = _set("care, regimen, diet, protocol, arm, storage, prophylaxis, dose, dosing, schedule, group, cohort")
DILUTIONS = _set(
    "dilfac, dilfact, dilfct, dilf, pcdilfac, predilution, dilution, dilutions, diluted, dil, dilfactor, "
    "dilutionfactor, verdunnung, verdunnungsfaktor, verdunnt, dilucion, "
    "diluizione, diluicao, verdunning"
)
# Values that were put there: in a cell or a heading, or, under a heading of their origin, in looser words.
DERIVED = re.compile(
    r"\b(?:locf|bocf|wocf|nocb|lvcf|carried[ _-](?:forward|over)|interpol\w*|extrapol\w*|imput\w*|predicted|simulated|"
    r"smoothed|fortgeschrieben|hochgerechnet|derivfl)\b"
)
ORIGINS = _set("dtype, derivation, derived, origin, source, type, basis, how, status, flag, herkunft, origine, origen")
DERIVED_LOOSELY = _set(
    "average, averaged, mean, median, estimated, estimate, calculated, derived, minimum, maximum, copied, copy, model, "
    "geschatzt, gemittelt, berechnet, moyenne, estime, calcule, promedio, estimado, calculado, media, stimato"
)
SPOILS = _set(
    "hemolysis, haemolysis, hemolyzed, haemolysed, lipemia, lipaemia, lipemic, icterus, icteric, clots, clotting, "
    "clotted, contamination, degradation, degraded, inhibition, inhibited, hamolyse, lipamie, hemolyse, emolisi, "
    "hemolisis, lipemie, gerinnsel, coagulated, coagulation"
)
SLIGHT = re.compile(
    r"none|nil|neg(?:ative)?|normal|absent|clear|ok|mild|slight|trace|minimal|\(?\+\)?-?|leicht|gering|keine|aucune?|"
    r"ningun[oa]?|nessun[oa]?|legere?|leve|lieve|not (?:present|seen|detected)|n\.?a\.?|unknown|passed?|good"
)
# Counts of wells of one sample that were positive; partitions of a digital PCR are thousands.
HITS = _set(
    "hits, hit, positive, positives, pos, detected, amplified, positiv, positif, positivo, positivi, replicates"
)
HIT_ALONE = _set("hits, hit")
OF_WELLS = _set("wells, well, replicates, replicate, reps, rep, reactions, kavitaten, puits, pocillos, pozzetti")
MOST_WELLS = 12

ENDPOINTS = _set(
    "cmt, compartment, param, paramcd, parameter, pctest, pctestcd, test, testcd, testname, analyte, assay, endpoint, "
    "measure, measurement, marker, gene, variable, obsname, observation, dvname, yname, specimen, spec, pcspec, "
    "lbspec, matrix, tissue, material, fluid, organ, compartments, platform, analyt, lbtest, lbtestcd, sampletype, "
    "obsid, primer, primers, primerset, probe, probes, target, targets, construct, constructs, species, organism, "
    "amplicon, locus, dye, fluorophore, channel, epitope, antigen, vector, transgene, insert, strain, celltype, "
    "subset, phenotype, template, sonde, zielgen, spezies, espece, especie, specie"
)
OF_ENDPOINTS = _set("name, type, code, cd, id, sample, of, dv, label, set, pair, cell, car, pcr, qpcr")
SPECIMENS = {
    "blood": "blood", "pb": "blood", "pbmc": "pbmc", "pbmcs": "pbmc", "plasma": "plasma", "serum": "serum",
    "marrow": "marrow", "bm": "marrow", "bmmc": "marrow", "csf": "csf", "cerebrospinal": "csf", "tumor": "tumour",
    "tumour": "tumour", "biopsy": "biopsy", "node": "node", "urine": "urine", "ascites": "ascites", "saliva": "saliva",
    "spleen": "spleen", "tissue": "tissue", "skin": "skin", "liver": "liver", "pleural": "pleural",
    "ln": "node", "blut": "blood", "vollblut": "blood", "knochenmark": "marrow", "km": "marrow", "liquor": "csf",
    "lymphknoten": "node", "biopsie": "biopsy", "urin": "urine", "sang": "blood", "moelle": "marrow", "lcr": "csf",
    "ganglion": "node", "sangre": "blood", "medula": "marrow", "biopsia": "biopsy", "orina": "urine",
    "sangue": "blood", "midollo": "marrow", "linfonodo": "node", "plasmatique": "plasma", "suero": "serum",
    "siero": "serum", "bloed": "blood", "beenmerg": "marrow", "krew": "blood", "szpik": "marrow",
    "leukapheresis": "apheresis",
    "apheresis": "apheresis", "leukapherese": "apheresis", "apherese": "apheresis", "aferesis": "apheresis",
    "gdna": "dna", "cdna": "rna", "mrna": "rna", "lymfeklier": "node", "blod": "blood", "benmarg": "marrow",
    "benmarv": "marrow", "medulla": "marrow",
    "bma": "marrow", "bmas": "marrow", "iliac": "marrow", "sternal": "marrow", "trephine": "marrow", "kmp": "marrow",
    "beckenkamm": "marrow", "punctate": "marrow",
    "aszites": "ascites", "milz": "spleen", "bazo": "spleen", "milza": "spleen",
}  # fmt: skip
# What may stand beside a specimen in a cell and says nothing of it: D7 PB, visit 3 marrow, whole blood.
BESIDE_SPECIMENS = _set(
    "whole, peripheral, bone, lymph, aspirate, fluid, cells, mononuclear, edta, sample, d, v, w, m, c, visit, fu, "
    "tube, baseline, screening, cycle, tag, j, pt, p, s, no, nr, rep, run, aliquot, periferica, osea, "
    "osseuse, peripherique, asp, aspirates, aspirat, aspiration, aspirado, aspirato, ponction, punktion, punktat, "
    "crest, puncture"
)
ANALYTES = re.compile(
    r"q?pcr|ddpcr|\bflow\b|facs|durchfluss|[zc][yi]t?tometr|zytometr|citometr|cytometr|citofluor|\bcar\b|car-?t|car-?nk|copies|transgene|\bvcn\b|\bcd\d+\b|"
    r"b[ -]?cells?|t[ -]?cells?|nk[ -]?cells?|"
    r"\brnase ?-?p\b|\brpp30\b|\balb\b|gapdh|\bactb\b|\bhprt\d?\b|\bb2m\b|\bhbb\b|\b18s\b|housekeep|reference gene|"
    r"\bwpre\b|\bil-?\d+|crp|ferritin|\bifn|tnf|cytokine|\bm-?protein|blast|bcma|viral|\bdna\b|\brna\b|lympho|leuko|wbc",
    re.IGNORECASE,
)
REPLICATES = _set(
    "well, wells, replicate, replicates, rep, run, plate, tube, aliquot, duplicate, repeat, sample, sampleid, "
    "barcode, accession, operator, comment, comments, note, notes, batch, extraction, dilution, position, technician, "
    "analyst, instrument, kit, lot, lab, site, reader, technical, ansatz, messung, mesure, medida, misura, draw, "
    "storage, replikat, wiederholung, duplikat, replicat, duplicat, replica, doppelbestimmung, stored, time, "
    "timepoint, hour, clock, uhrzeit, heure, hora, ora, tageszeit, visit, freezer"
)
# Samples of one day that are told apart by their hour are no two kinds of measurement.
REPLICATE_CELLS = re.compile(
    r"(?:rep\w*|run|well|tech\w*|draw|tube|messung|ansatz|lauf|mesure|plate|aliquot|sample|dup\w*)[ _.#-]*\d+",
    re.IGNORECASE,
)
INFUSION = _set(
    "given, administered, within, "
    "infusion, inf, of, dose, dosing, time, length, iv, the, admin, administration, tinf, perfusion, infusione, dosis, "
    "gabe, zeit, temps, tiempo, tempo, de, la, der, della, l, n, ex, day, dy, dtc, cell, cells, drug, infused, over, "
    "uber, sur, in, infundiert, perfuse, infundido, period, t, infus, perf, len, lange, laenge, longueur, span"
)
# How long an infusion took, when it ended, how fast it went, and what of it counts and when.
DURATIONS = _set("dur, duration, tinf, infdur, exdur, dauer, duree, duracion, durata, d1, d2")
ENDED = _set("end, stop, ende, fin, fine, finish, finished, stopped, ended")
LAST = _set("last, final, letzte, letzter, derniere, dernier, ultima, ultimo")
# Of an infusion, words for its length beside the unit of time.
INFUSIONS = _set("inf, infus, infusion, perf, perfusion, infusione")
LENGTHS = _set("t, len, length, lange, laenge, longueur, span, days, tage, jours, dias, giorni")
# Words of a heading that speaks of infusions, whatever else it says.
INFUSED = _set(
    "infusion, infusions, infused, dose, doses, dosing, dosis, perfusion, infusione, infundiert, perfuse, gabe, "
    "administration, administered, dosage"
)
# A dose in parts: words of a heading, and of a cell whatever stands above it.
SPLITS = _set(
    "split, splits, splitted, fraction, fractions, fractionated, fractionation, divided, parts, fraktioniert, geteilt, "
    "fractionne, fractionnee, fraccionada, frazionata, portions, installments"
)
SCHEDULES = _set(
    "schedule, regimen, regime, schema, scheme, plan, protocol, note, comment, remark, product, bags, cells"
)
IN_PARTS = re.compile(
    r"\b(?:split|fractionated|divided|geteilt|fraktioniert|fractionnee?|fraccionad[ao]|frazionat[ao])\b"
    r"|\b(?:over|across|within|during|on|uber|sur|en|durante|in|an)\W+(?:\d+|two|three|four|five|consecutive|several)"
    r"\W+(?:consecutive\W+)?(?:days?|tagen?|jours|dias|giorni|weeks?|wochen|infusions?|doses|fractions|parts)\b"
    r"|\b(?:\d+|two|three|four|five)\W+(?:infusions|fractions|fraktionen|portions|split doses|parts)\b"
    r"|\d+ ?%?(?: ?[/+:,;] ?\d+ ?%?)+ ?(?<=%)"
)
# Days of infusions in a cell, d0-d2 or days 0, 1, 2; those of lymphodepletion are before day 0.
ON_DAYS = re.compile(
    r"\b(?:d|days?|tage?|jours?|dias?)[ .]?0 ?[-\u2013,;/+&]+ ?(?:d|day|tag)?[ .]?[1-9]|^0(?:[ ,;/+&]+\d{1,2})+$|"
    r"\bd(?:ay)?[ .]?[0-9]\d? ?(?:[-\u2013,;/+&]|and|und|to) ?d(?:ay)?[ .]?[1-9]"
)
# Headings whose schedules and fractions are those of something else.
NO_DOSES = _set(
    "lymphodepletion, conditioning, ld, chemo, chemotherapy, premedication, bridging, response, visit, visits, "
    "sampling, radiation, ejection, lvef, prior, previous, cyclophosphamide, fludarabine, steroid, steroids, "
    "tocilizumab, konditionierung, lymphodepletie"
)
RATES = _set("rate, debit, velocidad, velocita, speed, r1, r2")
LAGS = _set("lag, tlag, alag, lagtime, alag1, alag2")
SHARE_WORDS = _set(
    "f, f1, f2, bio, bioavailability, bioavail, bioav, biodispo, bioverfugbarkeit, biodisponibilite, fbio"
)
CODES = _set("flag, code, status, stat, qual, remark, fl, ind, indicator, quality, qc, type, note")
GENERAL = _set("status, stat, type, note, remark, quality, ind, indicator")
# Words of a heading that is about a unit, and those that may stand beside them where it is that of the values.
OF_UNITS = _set("unit, units, einheit, einheiten, unite, unites, unidad, unidades, unita, unidade, uom, eenheid, enhet")
OF_VALUES = _set(
    "result, results, value, values, dv, copies, conc, concentration, of, measure, measurement, measured, pcr, qpcr, "
    "ddpcr, car, transgene, wert, werte, ergebnis, messwert, resultat, resultado, risultato, valeur, valor, valore, "
    "der, des, de, del, du, della, assay, lab, reported, level, vcn, reporting"
)
# Words before copies or cells in a unit that only say which are meant.
WHICH_COUNTED = _set(
    "car, cars, cart, carnk, ucart, ucar, ucarnk, t, nk, nkt, tcr, til, tils, b, cd, vector, transgene, transgen, vg, "
    "gene, genome, viable, total, infused, live, living, absolute, abs, dose, dosed, dosis, of, number, no, n, nr, "
    "count, counts, the, transduced, modified, engineered, positive, pos, edited, expressing, autologous, allogeneic, "
    "donor, derived, cord, peripheral, whole, marrow, bone, pb, pbmc, bm, product, target, effector, memory, "
    "lymphocyte, lymphocytes, leukocyte, leukocytes, white, mononuclear, blood, dna, gdna, genomic, qpcr, pcr, ddpcr, "
    "dpcr, flow, measured, reported, observed, anti, dual, bispecific, fresh, frozen, thawed, final, actual, given, "
    "administered, per, in, circulating, gamma, delta, alpha, beta, gd, natural, killer, stem, hsc, cik, mait, treg, "
    "tregs, nucleated, vcn, mean, conc, concentration, vitale, lebende, gesamt, vivantes, totales, viables, vivas, "
    "totali, vitali"
)
# Headings under which one letter, h, is a unit of the times.
OF_TIMES = _set(
    "einheit, zeiteinheit, unite, unidad, unita, zeit, temps, tiempo, tempo, time, times, timing, clock, tu, tad, "
    "timescale, scale, uhr, zeitskala, zeiten, dauer, hours, stunden, interval, day, days"
)
# Headings by which values are divided, whose cells name what: mL blood, 100 ng DNA, cell.
PER_WORDS = _set(
    "per, denominator, basis, reference, normalised, normalized, normalisation, normalization, normaliser, relative, "
    "expressed, norm, ref, bezug, bezogen, nenner, pro, par, por, rapporte, denominateur, denominador, denominatore"
)
BESIDE_PER = OF_VALUES | _set("to, by, on, as, auf, a, per, unit, quantity, amount, input, for, in, al, sur")
# Headings of a number by which values are to be multiplied, of a power of ten, and of logarithms.
FACTORS = _set("factor, multiplier, multiplicator, multiplikator, faktor, facteur, fattore, scaling, scale")
POWERS = _set("exponent, power, expo, exposant, esponente, exponente, potenz")
LOGS = _set("log, logged, logtransformed, logtransform, islog, logarithm, logarithmic, ln, logscale")
BESIDE_FACTORS = OF_VALUES | _set("conversion, correction, x, unit, units, ten, to, by, the")
BESIDE_LOGS = BESIDE_FACTORS | _set("transformed, transform, transformation, is, scale, scaled, data, base, natural")
# All words that the heading of a value in copies/ug may have where it does not say its unit; another word may be one.
PLAIN_VALUES = _set(
    "dv, y, obs, observed, observation, data, value, values, conc, concentration, result, results, res, copies, copy, "
    "car, t, nk, cart, carnk, transgene, transgenes, transgen, vector, qpcr, pcr, ddpcr, dpcr, dna, gdna, blood, pb, "
    "pbmc, whole, peripheral, sample, measured, measurement, measure, reported, analysis, numeric, num, raw, final, "
    "mean, avg, average, rep, replicate, well, run, level, levels, load, lab, of, in, the, per, rxn, "
    "wert, werte, messwert, messwerte, messung, ergebnis, kopien, konzentration, valeur, valeurs, resultat, resultats, "
    "concentracion, concentrazione, valor, valore, valores, valori, resultado, risultato, copias, copie, mesure, "
    "mesuree, mesurees, medido, misurato, gemessen, medida, misura, blut, sang, sangre, sangue, aval, avalc"
)
# Words of headings that are like those of values, and of days, and are something else.
NO_VALUES = LIMIT_WORDS | _set(
    "lower, upper, limit, limits, min, max, date, datum, time, day, days, dose, dosis, amount, pred, ipred, ypred, "
    "predicted, prediction, fitted, simulated, sim, residual, residuals, res, iwres, cwres, sd, se, sem, cv, counted, "
    "index, code, name"
)
NO_DAYS = _set(
    "leukapheresis, apheresis, leukapherese, apherese, diagnosis, diagnose, diagnostic, age, alter, birth, birthday, "
    "hospital, stay, relapse, response, remission, progression, date, datum, transplant, hsct, transplantation, "
    "surgery, "
    "lymphodepletion, conditioning, chemotherapy, enrolment, enrollment, consent, screening, randomisation, "
    "randomization, death, onset, duration, year, vein, manufacture, manufacturing, collection, fever, crs, icu, draw, "
    "clock, uhrzeit"
)
