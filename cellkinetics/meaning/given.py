"""Names of what was given: infused cells, other drugs, and what is given beside the cells."""

from __future__ import annotations

import re

from cellkinetics.meaning.vocabulary import folded, words_between

# Names of infused cells, and of what else is given on rows of doses.
_CELL_PRODUCTS = re.compile(
    r"(?:(?:u?car|nk|nkt|t|til|tils|tcr|ucart|ucarnk|cart|carnk|gene modified|modified|engineered|allogeneic|"
    r"autologous|cord blood|donor|il|anti|cd|bcma|gprc5d|viable|infused|total|product|infusion|of|dose|bag|re|first|"
    r"second|cells?|zellen?|cellules?|celulas?|cellule|[a-z]+gene|[a-z]+leucel|[a-z]+ cel|\d+)(?: |$))+"
)
_CORE = re.compile(r"\b(?:u?car|cart|carnk|ucart|nk|nkt|tils?|cells?|zellen?|cellules?|celulas?|\w+leucel|\w+ cel)\b")
OTHER_DRUGS = re.compile(
    r"(?:(?:flu|fludarabine?|fludarabina|cy|ctx|cyclophosphamide?|cyclophosphamid|ciclofosfamida|bendamustin\w*|"
    r"melphalan|busulfan|treosulfan|rimiducid|ap1903|ap 1903|[a-z]{4,}(?:mab|nib|stim|sone|solone|mycin|platin|taxel)|"
    r"il \d+|interleukin \d+|aldesleukin|anakinra|paracetamol|acetaminophen|diphenhydramine|ivig|atg|thymoglobulin|"
    r"steroids?|mesna|lymphodepletion|conditioning|chemo\w*|premed\w*|placebo|saline|heparin|etoposide|cytarabine|and|plus|iv|"
    r"po|sc|mg|m2|ug|kg|mcg|miu|iu|hydrochloride|phosphate|\d+)(?: |$))+"
)
DRUGS = words_between(
    "drug, drugs, agent, agents, compound, substance, extrt, medikament, wirkstoff, praparat, medicament, produit, "
    "farmaco, medicamento, drugname"
)
MAY_BE_DRUGS = words_between(
    "product, treatment, trt, medication, therapy, given, administered, what, type, name, label"
)
# What is given beside the cells, in a column of its own.
BESIDE_CELLS = words_between(
    "premedication, premed, comedication, comed, concomitant, conditioning, lymphodepletion, ld, bridging, prior, "
    "previous, prophylaxis, last, steroid, steroids, tocilizumab, cryoprotectant, medium"
)


def names_cells(text: str) -> bool:
    """Whether a name of what was given is one of infused cells.

    >>> [names_cells(text) for text in ("CAR-NK", "NK cells", "axi-cel", "tisagenlecleucel", "T-VEC", "fludarabine")]
    [True, True, True, True, False, False]
    """
    low = re.sub(r"[^a-z0-9]+", " ", folded(text)).strip()
    return bool(_CELL_PRODUCTS.fullmatch(low) and _CORE.search(low))


def names_drug(text: str) -> bool:
    """Whether a name of what was given is one of another drug, and nothing else.

    >>> [names_drug(text) for text in ("Flu/Cy", "FLUDARABINE 30 mg/m2", "IL-2", "given on day 3", "30")]
    [True, True, True, False, False]
    """
    low = re.sub(r"[^a-z0-9]+", " ", folded(text)).strip()
    return bool(re.search("[a-z]{2}", low) and OTHER_DRUGS.fullmatch(low))


# Headings of how often cells were given, what may stand beside, and cells that say once.
OFTEN = words_between(
    "frequency, freq, exdosfrq, exdosfrequency, dosfrq, doseinterval, interdose, haufigkeit, frecuencia, frequence, "
    "frequenza, regimen, schedule, dosing, schema"
)
BESIDE_OFTEN = words_between(
    "dose, dosing, infusion, of, infusions, doses, cells, cell, ex, car, nk, t, administration"
)
REPEATED = re.compile(
    r"(?:q|every ?)\d* ?(?:w|d|m|weeks?|days?|months?|wk|other day)\w*\b|\bq\d+\w?\b|\b(?:bi|tri)?-?weekly\b|\bdaily\b|"
    r"\bmonthly\b|\bx ?[2-9]\b|\b[2-9] ?(?:x|times|mal|fois|veces)\b|\b(?:two|three|four) times\b|\bwochentlich\b|"
    r"\btaglich\b|\b(?:bid|tid|qd|qod)\b|hebdomadaire|semanal|settimanale"
)
# Headings that count what was given, alone or beside each other; and those of the interval of a dose.
COUNTED_DOSES = words_between(
    "doses, infusions, bags, injections, administrations, beutel, poches, bolsas, dosen, infusionen, vials"
)
# Bags are counted on the row of a dose: elsewhere they are those of one infusion.
BAGS = words_between("bags, beutel, poches, bolsas, vials")
BESIDE_COUNTED = words_between(
    "given, infused, administered, received, number, n, no, nr, of, total, num, count, cell, cells, product, the, car"
)
INTERVALS = words_between("ii")
# Headings that number the infusion or course to which a row belongs, and those that say that there was another.
OF_COURSES = words_between(
    "infusion, infusions, dose, dosnum, dosno, doseno, dosenum, dosenumber, doseindex, infusionno, infno, infnum, "
    "exseq, "
    "doseseq, dosing, exnum"
)
BESIDE_COURSES = words_between("number, no, nr, num, n, id, index, of, dose, infusion, count, cell, seq, sequence")
AGAIN = re.compile(
    r"(?:^|_)re_?(?:infus|treat|dos|challeng|administ)\w*|(?:^|_)(?:second|2nd|third|zweite|deuxieme|segunda|seconda)_"
    r"(?:infusion|dose|course|treatment|gabe|perfusion|dosis)"
)
NOT_AGAIN = words_between("planned, eligible, consent, reaction, reason, possible, allowed, intended, retreatment_ld")
