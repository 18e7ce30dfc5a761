"""Workbooks and files of SAS: the same table, whatever the program that wrote it."""

import struct
import zipfile

import pandas as pd
import pytest

from cellkinetics import StudyError, StudyWarning, read_study
from cellkinetics.layout.workbooks import is_sas

ROWS = [
    ["subject", "day", "copies_per_ug", "lloq"],
    ["A", 7.0, 5120.0, 3.0],
    ["A", 28.0, "<3", 3.0],
    ["B", 7.5, 9.25, ""],
]
EXPECTED = [("A", 7, 5120), ("A", 28, 3), ("B", 7.5, 9.25)]


def used(study):
    rows = study.used
    return [tuple(row) for row in rows[["subject", "day"]].assign(value=rows["value"].fillna(rows["upper"])).values]


def workbook(path, **sheets):
    with pd.ExcelWriter(path, engine="openpyxl") as book:
        for name, rows in sheets.items():
            pd.DataFrame(rows).to_excel(book, sheet_name=name, index=False, header=False)
    return path.read_bytes()


def test_a_workbook_is_read_with_its_title_dates_and_rows(read, tmp_path):
    pytest.importorskip("python_calamine")
    day = [pd.Timestamp("2024-03-09"), pd.Timestamp("2024-03-02")]
    table = [["A study", *[None] * 4], [None] * 5, ["subject", "date", "infusion_date", None, "dv"]]
    table += [["A", *day, None, 5000.0], ["A", *day, None, "<3"], ["A", *day, None, "20"]]
    content = workbook(tmp_path / "book.xlsx", qPCR=table, notes=[["only", "words"]])
    study = read(content, "table.xlsx", lloq=3)
    assert study.observations["row"].tolist() == [4, 5, 6]
    assert used(study) == [("A", 7, 5000), ("A", 7, 3), ("A", 7, 20)]
    assert study.note == "A study"
    with pytest.raises(StudyError, match=r"there is no sheet 'note'\. There are qPCR, notes\. Did you mean notes"):
        read(content, "table.xlsx", sheet="note")


def test_of_two_sheets_with_a_table_one_has_to_be_named(read, tmp_path):
    pytest.importorskip("python_calamine")
    rows = [["subject", "day", "dv"], ["A", 7, 5]]
    content = workbook(tmp_path / "book.xlsx", one=rows, two=[rows[0], ["B", 7, 6]])
    with pytest.raises(StudyError, match=r"several sheets with content: one, two. Say which one, .*sheet='one'"):
        read(content, "table.xlsx")
    assert used(read(content, "table.xlsx", sheet="two")) == [("B", 7, 6)]


def test_cells_that_are_merged_over_two_rows_name_their_columns(read, tmp_path):
    pytest.importorskip("python_calamine")
    rows = [["A study", None, None, None], ["subject", "qPCR", None, "dose"], [None, "day", "copies_per_ug", None]]
    rows += [["A", 7, 5, None], ["A", 14, 20, None]]
    study = read(workbook(tmp_path / "book.xlsx", one=rows), "table.xlsx")
    assert used(study) == [("A", 7, 5), ("A", 14, 20)]
    assert study.observations["row"].tolist() == [4, 5]


def test_two_groups_of_columns_with_the_same_names_are_refused(read, tmp_path):
    pytest.importorskip("python_calamine")
    rows = [["subject", "blood", None, "marrow", None], [None, "day", "dv", "day", "dv"], ["A", 7, 5, 7, 9]]
    with pytest.raises(StudyError, match="two columns are called 'day'"):
        read(workbook(tmp_path / "book.xlsx", one=rows), "table.xlsx")


def ods(path, rows):
    """A spreadsheet of OpenDocument, the few lines of XML that one needs."""
    kinds = {
        float: '<table:table-cell office:value-type="float" office:value="{0}"><text:p>{0}</text:p></table:table-cell>'
    }
    text = '<table:table-cell office:value-type="string"><text:p>{0}</text:p></table:table-cell>'

    def cell(value):
        return kinds.get(type(value), text).format(str(value).replace("<", "&lt;"))

    lines = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    space = "urn:oasis:names:tc:opendocument:xmlns:"
    names = "".join(f' xmlns:{name}="{space}{name}:1.0"' for name in ("office", "table", "text"))
    body = f'<office:body><office:spreadsheet><table:table table:name="one">{lines}</table:table>'
    body += "</office:spreadsheet></office:body>"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        file.writestr("META-INF/manifest.xml", "<manifest/>")
        file.writestr(
            "content.xml", f"<?xml version='1.0'?><office:document-content{names}>{body}</office:document-content>"
        )
    return path.read_bytes()


def test_an_ods_file_is_read_like_the_same_table_as_text(read, tmp_path):
    pytest.importorskip("python_calamine")
    assert used(read(ods(tmp_path / "book.ods", ROWS), "table.ods")) == EXPECTED


def test_an_xls_file_is_read_like_the_same_table_as_text(read, tmp_path):
    pytest.importorskip("python_calamine")
    xlwt = pytest.importorskip("xlwt", exc_type=ImportError)
    book = xlwt.Workbook()
    sheet = book.add_sheet("one")
    for at, row in enumerate(ROWS):
        for place, value in enumerate(row):
            sheet.write(at, place, value)
    book.save(str(tmp_path / "book.xls"))
    assert used(read((tmp_path / "book.xls").read_bytes(), "table.xls")) == EXPECTED


def ibm(number):
    """A number as a mainframe wrote it: 7 bits of a power of 16, 56 bits behind the point; . is missing."""
    if number == "":
        return b"." + bytes(7)
    power = 0
    while number >= 1:
        number, power = number / 16, power + 1
    while 0 < number < 1 / 16:
        number, power = number * 16, power - 1
    return struct.pack(">Q", ((power + 64) << 56 if number else 0) + int(number * 2**56))


def xpt(names, rows):
    """A transport file of SAS (TS-140): headers of 80 bytes, 140 bytes a column, then the rows."""

    def header(kind, numbers="0" * 30):
        return f"HEADER RECORD*******{kind:<8}HEADER RECORD!!!!!!!{numbers}  ".encode()

    stamp = b"09MAR24:12:00:00"
    sas = b"SAS     SAS     SASLIB  9.4     LINUX   " + b" " * 24 + stamp
    member = b"SAS     PC      SASDATA 9.4     LINUX   " + b" " * 24 + stamp
    content = header("LIBRARY") + sas + stamp.ljust(80)
    content += header("MEMBER", f"{'':0>17}16{'':0>8}140") + header("DSCRPTR") + member + stamp.ljust(80)
    content += header("NAMESTR", f"{'':0>6}{len(names):04d}{'':0>20}")
    columns, place = b"", 0
    numeric = [all(not isinstance(row[at], str) or row[at] == "" for row in rows) for at in range(len(names))]
    for at, name in enumerate(names):
        columns += struct.pack(">hhhh", 1 if numeric[at] else 2, 0, 8, at + 1) + name.encode().ljust(8) + b" " * 40
        columns += b" " * 8 + struct.pack(">hhh", 0, 0, 0) + b"  " + b" " * 8 + struct.pack(">hhl", 0, 0, place)
        columns, place = columns + bytes(52), place + 8
    content += columns.ljust(-len(columns) // 80 * -80, b" ") + header("OBS")
    for row in rows:
        cells = zip(row, numeric, strict=True)
        content += b"".join(ibm(cell) if number else cell.encode().ljust(8) for cell, number in cells)
    return content.ljust(-len(content) // 80 * -80, b" ")


def test_a_transport_file_of_sas_is_read_like_the_same_table_as_text(read):
    names = ["subject", "day", "dv", "lloq", "cens"]
    rows = [["A", 7.0, 5120.0, 3.0, 0.0], ["A", 28.0, 3.0, 3.0, 1.0], ["B", 7.5, 9.25, "", 0.0]]
    study = read(xpt(names, rows), "pc.xpt")
    assert used(study) == EXPECTED
    assert study.observations["status"].tolist() == ["quantified", "below", "quantified"]


def test_a_transport_file_of_cdisc_is_told_what_to_map_and_followed_gives_the_study(read):
    names = ["USUBJID", "PCTESTCD", "PCSTRESC", "PCSTRESN", "PCLLOQ", "PCDY"]
    rows = [["A", "CAR", "5120", 5120.0, 3.0, 8.0], ["A", "CAR", "BLQ", "", 3.0, 29.0]]
    with pytest.raises(StudyError, match="looks like an SDTM PC table") as said:
        read(xpt(names, rows), "pc.xpt")
    remedy = str(said.value).split("read_study(..., ")[1].split(").")[0]
    # Study days have no day 0: day 8 is 7 days after the infusion on day 1.
    assert used(eval(f"read(xpt(names, rows), 'pc.xpt', {remedy})")) == [("A", 7, 5120), ("A", 28, 3)]


def test_a_damaged_workbook_or_file_of_sas_is_refused_with_its_name(read):
    pytest.importorskip("python_calamine")
    for content, name in (
        (b"\xd0\xcf\x11\xe0" + bytes(600), "table.xls"),
        (xpt(["subject"], [["A"]])[:200], "table.xpt"),
        (bytes(12) + b"\xc2\xea\x81\x60" + bytes(300), "table.sas7bdat"),
    ):
        with pytest.raises(StudyError, match=f"{name}: .*cannot be read.* Save it as CSV"):
            read(content, name)
    assert is_sas(bytes(12) + b"\xc2\xea\x81\x60")


def test_an_error_or_a_formula_without_a_value_is_no_empty_cell(tmp_path):
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for record in (["subject", "day", "DV"], ["A", 7, 5000], ["A", 14, "=B2*10"], ["A", 28, "#DIV/0!"]):
        book.active.append(record)
    book.active["C4"].data_type = "e"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(StudyError) as caught:
        read_study(tmp_path / "t.xlsx")
    assert [problem.row for problem in caught.value.problems] == [3, 4]
    assert "=B2*10" in str(caught.value) and "#DIV/0!" in str(caught.value)


def test_rows_that_are_hidden_are_read_and_named(tmp_path):
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "qPCR & flow <1>"
    for record in (["subject", "day", "DV"], ["A", 7, 5000], ["A", 14, 900], ["A", 28, 100]):
        book.active.append(record)
    book.active.row_dimensions[3].hidden = True
    book.save(tmp_path / "t.xlsx")
    with pytest.warns(StudyWarning, match="1 row of the worksheet is hidden, .*: 3"):
        study = read_study(tmp_path / "t.xlsx")
    assert study.used["value"].tolist() == [5000, 900, 100]
    assert "hidden" in study.note
