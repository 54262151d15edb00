"""Made-up clients in the forms that UCI, Kaggle and OpenML publish: rows of text, and files of them."""

import io
import zipfile

import numpy as np
import xlwt

UCI_COLUMNS = [
    *("ID", "LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE"),
    *(f"PAY_{k}" for k in (0, 2, 3, 4, 5, 6)),
    *(f"BILL_AMT{k}" for k in range(1, 7)),
    *(f"PAY_AMT{k}" for k in range(1, 7)),
]
UCI_HEADER = [*UCI_COLUMNS, "default payment next month"]
KAGGLE_HEADER = [*UCI_COLUMNS, "default.payment.next.month"]
OPENML_HEADER = [*(f"x{k}" for k in range(1, 24)), "y"]

# The features of the notebook that the project grew out of, in its order; others may stand among them.
NOTEBOOK_FEATURES = [
    *("age", *(f"bill_amt_{k}" for k in range(1, 7)), *(f"pay_amt_{k}" for k in range(1, 7)), "limit_balance"),
    *("education_level", *(f"pay_{k}" for k in (0, 2, 3, 4, 5, 6)), "sex", "others", "single"),
]


def uci_rows(n_rows=60, seed=0):
    """Draw clients as UCI codes them, undocumented codes included; the target hangs on the newest delay and the limit.

    Returns a list of rows of text, in the order of `UCI_HEADER`.
    """
    rng = np.random.default_rng(seed)
    limit = rng.integers(1, 80, n_rows) * 10_000
    late = rng.choice([-2, -1, 0, 1, 2, 3], n_rows, p=[0.1, 0.2, 0.4, 0.1, 0.1, 0.1])
    columns = [
        np.arange(1, n_rows + 1),
        limit,
        rng.integers(1, 3, n_rows),
        rng.integers(0, 7, n_rows),
        rng.integers(0, 4, n_rows),
        rng.integers(21, 80, n_rows),
        *(np.clip(late + rng.integers(-1, 2, n_rows), -2, 8) for _ in range(6)),
        *(np.rint(limit * rng.uniform(-0.05, 0.9, n_rows)).astype(int) for _ in range(6)),
        *(rng.integers(0, 20_000, n_rows) for _ in range(6)),
    ]
    risk = 0.1 + 0.2 * (columns[6] > 0) + 0.3 * (columns[6] > 1) + 0.15 * (limit < 200_000)
    target = (rng.uniform(size=n_rows) < risk).astype(int)
    target[:2] = 0, 1
    return [[str(cell) for cell in row] for row in zip(*columns, target, strict=True)]


def csv_file(header, rows):
    """Write rows as CSV."""
    return "".join(",".join(row) + "\n" for row in [header, *rows]).encode()


def xls_file(rows):
    """Write rows as UCI's workbook has them: X1 to X23 and Y on the first row, the names on the second."""
    workbook = xlwt.Workbook()
    sheet = workbook.add_sheet("Data")
    for column, name in enumerate(UCI_HEADER):
        sheet.write(0, column, ["", *(f"X{k}" for k in range(1, 24)), "Y"][column])
        sheet.write(1, column, name)
    for number, row in enumerate(rows, start=2):
        for column, cell in enumerate(row):
            sheet.write(number, column, float(cell) if cell.removeprefix("-").isdecimal() else cell)
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def zip_file(contents):
    """Compress named files into one."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()
