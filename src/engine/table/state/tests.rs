//! Rows, and seeds that are judged by a table that only knows lists.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const COLUMNS: [&str; 3] = ["name", "age", "性别"];
const CELL_BYTES_MAX: usize = 12;

fn spec(rows: &[(&str, [&str; 3])], rows_max: usize, bytes_max: usize) -> Arc<TableSpec> {
    let columns = COLUMNS.map(|id| Column { id: id.into(), labels: Vec::new() });
    let row = |(id, values): &(&str, [&str; 3])| (RowId::from(*id), values.map(CellValue::text).to_vec());
    let rows = rows.iter().map(row).collect();
    Arc::new(TableSpec { columns: columns.into(), rows, rows_max, cell_bytes_max: CELL_BYTES_MAX, bytes_max })
}

fn people() -> Table {
    Table::new(spec(&[("1", ["明", "18", "男"]), ("2", ["花", "17", "女"]), ("3", ["小", "", ""])], 5, 112))
}

fn by_id(id: &str) -> RowRef {
    RowRef::Id(id.into())
}

fn set(row: RowRef, column: &str, value: &str, if_rev: Option<u64>) -> CellSet {
    CellSet { row, column: column.into(), value: CellValue::text(value), if_rev }
}

fn add(row: Option<&str>, place: RowPlace, cells: &[(&str, &str)]) -> TableAct {
    let cells = cells.iter().map(|(column, value)| ((*column).into(), CellValue::text(value)));
    TableAct::Insert { row: row.map(Into::into), place, cells: cells.collect() }
}

fn go(row: &str, place: RowPlace) -> TableAct {
    TableAct::Move { row: by_id(row), place }
}

fn before(row: &str) -> RowPlace {
    RowPlace::Before(row.into())
}

fn after(row: &str) -> RowPlace {
    RowPlace::After(row.into())
}

fn order(table: &Table) -> String {
    let ids: Vec<&str> = table.rows().iter().map(|row| &*row.id).collect();
    ids.join(" ")
}

/// Decides and applies.
fn act(table: &mut Table, act: &TableAct, revision: u64) -> Result<(), Refusal> {
    let change = table.decide(act, Some(&"bob".into()))?;
    table.apply(&change, revision);
    Ok(())
}

#[test]
fn rows_come_stand_and_go() {
    let rows: [(TableAct, Result<&str, &str>); 29] = [
        (add(None, RowPlace::Last, &[]), Ok("1 2 3 r1")),
        (add(None, RowPlace::First, &[]), Ok("r1 1 2 3")),
        (add(None, before("1"), &[]), Ok("r1 1 2 3")),
        (add(None, before("3"), &[]), Ok("1 2 r1 3")),
        (add(None, after("1"), &[]), Ok("1 r1 2 3")),
        (add(None, after("3"), &[]), Ok("1 2 3 r1")),
        (add(Some("x"), RowPlace::Last, &[("age", "1"), ("age", "2")]), Ok("1 2 3 x")),
        (add(Some("2"), RowPlace::Last, &[]), Err("row_exists")),
        (add(Some(""), RowPlace::Last, &[]), Err("malformed")),
        (add(Some(&"x".repeat(65)), RowPlace::Last, &[]), Err("too_long")),
        (add(Some("x"), before("4"), &[]), Err("unknown_row")),
        (add(None, RowPlace::Last, &[("Age", "1")]), Err("unknown_column")),
        (add(None, RowPlace::Last, &[("age", "12345678901")]), Err("too_long")),
        (add(Some(&"x".repeat(64)), RowPlace::Last, &[("age", "123"), ("name", "456")]), Err("full")),
        (go("1", RowPlace::Last), Ok("2 3 1")),
        (go("3", RowPlace::Last), Ok("1 2 3")),
        (go("3", RowPlace::First), Ok("3 1 2")),
        (go("1", before("3")), Ok("2 1 3")),
        (go("1", after("3")), Ok("2 3 1")),
        (go("3", before("1")), Ok("3 1 2")),
        (go("3", after("1")), Ok("1 3 2")),
        (go("2", before("2")), Ok("1 2 3")),
        (go("2", after("2")), Ok("1 2 3")),
        (go("4", RowPlace::First), Err("unknown_row")),
        (go("1", before("4")), Err("unknown_row")),
        (TableAct::Move { row: RowRef::Index(2), place: before("2") }, Ok("1 3 2")),
        (TableAct::Delete { row: RowRef::Index(1) }, Ok("1 3")),
        (TableAct::Delete { row: by_id("3") }, Ok("1 2")),
        (TableAct::Delete { row: RowRef::Index(3) }, Err("unknown_row")),
    ];
    for (asked, expected) in rows {
        let mut table = people();
        match (act(&mut table, &asked, 1), expected) {
            (Ok(()), Ok(expected)) => assert_eq!(order(&table), expected, "{asked:?}"),
            (Err(refusal), Err(code)) => {
                assert_eq!(refusal.code(), code, "{asked:?}");
                assert_eq!(table, people(), "{asked:?}");
            }
            (result, _) => panic!("{asked:?}: {result:?}"),
        }
    }
}

#[test]
fn cells_are_written_all_or_none() {
    let id = |row: &str, column: &str, if_rev| set(by_id(row), column, "新", if_rev);
    let stale = Err("stale");
    let rows: [(Vec<CellSet>, Result<&str, &str>); 13] = [
        (vec![id("1", "name", None)], Ok("新 18 男")),
        (vec![id("1", "age", Some(0)), set(RowRef::Index(0), "性别", "?", Some(0))], Ok("明 新 ?")),
        (vec![id("1", "age", None), set(RowRef::Index(0), "age", "19", None)], Ok("明 19 男")),
        (vec![], Err("malformed")),
        (vec![id("4", "age", None)], Err("unknown_row")),
        (vec![set(RowRef::Index(3), "age", "", None)], Err("unknown_row")),
        (vec![id("1", "", None)], Err("unknown_column")),
        (vec![id("4", "", None)], Err("unknown_row")),
        (vec![id("1", "name", Some(1))], stale),
        (vec![id("1", "name", None), id("1", "age", Some(9)), id("4", "age", None)], stale),
        (vec![id("1", "name", None), id("4", "age", None), id("1", "age", Some(9))], Err("unknown_row")),
        (vec![set(by_id("1"), "name", "1234567890", None)], Ok("1234567890 18 男")),
        (vec![set(by_id("1"), "name", "12345678901", None)], Err("too_long")),
    ];
    for (cells, expected) in rows {
        let mut table = people();
        let asked = TableAct::Set(cells);
        match (act(&mut table, &asked, 1), expected) {
            (Ok(()), Ok(expected)) => {
                let values = table.rows()[0].cells.iter().map(|cell| cell.value.0.trim_matches('"'));
                assert_eq!(values.collect::<Vec<_>>().join(" "), expected, "{asked:?}");
            }
            (Err(refusal), Err(code)) => {
                assert_eq!(refusal.code(), code, "{asked:?}");
                assert_eq!(table, people(), "{asked:?}");
            }
            (result, _) => panic!("{asked:?}: {result:?}"),
        }
    }
}

#[test]
fn a_stale_write_is_told_what_is_there() {
    let mut table = people();
    let write = |value, if_rev| TableAct::Set(vec![set(by_id("2"), "age", value, if_rev)]);
    assert_eq!(act(&mut table, &write("19", Some(0)), 7), Ok(()));
    let cell = CellName { row: "2".into(), column: "age".into() };
    let value = CellValue::text("19");
    let stale = Stale { cell: cell.clone(), revision: 7, value, by: Some("bob".into()) };
    assert_eq!(act(&mut table, &write("20", Some(0)), 8), Err(Refusal::Stale(Box::new(stale))));
    assert_eq!(act(&mut table, &write("20", Some(7)), 8), Ok(()));
    assert_eq!(table.find(&cell), Ok(()));
    assert_eq!(table.find(&CellName { row: "9".into(), column: "?".into() }), Err(Refusal::UnknownRow));
    let expected = "name, age, 性别".to_owned();
    let nowhere = CellName { column: "?".into(), ..cell };
    assert_eq!(table.find(&nowhere), Err(Refusal::UnknownColumn { expected }));
}

#[test]
fn a_table_is_bounded_and_may_shrink() {
    // Ids and values with their quotes: 1 + 3 * 2 for each row.
    let mut table = Table::new(spec(&[("a", [""; 3])], 3, 16));
    assert_eq!(table.bytes(), 7);
    let write = |row, values: [&str; 2]| TableAct::Set(values.map(|value| set(by_id(row), "age", value, None)).into());
    let full = |bound| Err(Refusal::Full { bound });
    assert_eq!(act(&mut table, &add(Some("b"), RowPlace::Last, &[]), 1), Ok(()));
    assert_eq!(act(&mut table, &add(Some("c"), RowPlace::Last, &[]), 2), full("limits.table_bytes_max"));
    // The last value counts, and no other.
    assert_eq!(act(&mut table, &write("a", ["123456789", "123"]), 2), full("limits.table_bytes_max"));
    assert_eq!(act(&mut table, &write("a", ["123456789", "12"]), 2), Ok(()));
    assert_eq!(table.bytes(), 16);
    assert_eq!(act(&mut table, &write("b", ["", "1"]), 3), full("limits.table_bytes_max"));
    assert_eq!(act(&mut table, &write("a", ["34", "56"]), 3), Ok(()));
    // One that was configured too large.
    let mut table = Table::new(spec(&[("a", ["12345"; 3]), ("b", [""; 3])], 2, 20));
    assert_eq!(act(&mut table, &write("a", ["", "123456"]), 1), full("limits.table_bytes_max"));
    assert_eq!(act(&mut table, &write("a", ["", "1234"]), 1), Ok(()));
    assert_eq!(act(&mut table, &add(None, RowPlace::Last, &[]), 2), full("limits.table_rows_max"));
}

#[test]
fn made_ids_never_come_twice() {
    let far = format!("r{}", NOTED_MAX - 1);
    let too_far = format!("r{}", u64::MAX);
    // Given ids, each deleted again if it is marked, and the id that is made behind them.
    let rows: [(&[&str], &str); 8] = [
        (&["r1"], "r2"),
        (&["-r1"], "r2"),
        (&["r2"], "r3"),
        (&["rx", "r", "2", "R9", "-r-5"], "r1"),
        (&["-r7", "-r3"], "r8"),
        (&[&far], "r9007199254740992"),
        (&[&too_far], "r1"),
        (&[&far, "r9007199254740993", "r9007199254740992"], "r9007199254740994"),
    ];
    for (given, expected) in rows {
        let mut table = Table::new(spec(&[], 1000, 100_000));
        for given in given {
            let id = given.trim_start_matches('-');
            assert_eq!(act(&mut table, &add(Some(id), RowPlace::Last, &[]), 1), Ok(()));
            if id != *given {
                assert_eq!(act(&mut table, &TableAct::Delete { row: by_id(id) }, 1), Ok(()));
            }
        }
        assert_eq!(act(&mut table, &add(None, RowPlace::Last, &[]), 1), Ok(()));
        assert_eq!(table.rows().last().expect("a row").id, expected, "{given:?}");
    }
    let mut table = Table::new(spec(&[("r1", [""; 3])], 1000, 100_000));
    let mut seen = std::collections::HashSet::from([RowId::from("r1")]);
    for _ in 0..20 {
        assert_eq!(act(&mut table, &add(None, RowPlace::Last, &[]), 1), Ok(()));
        let made = table.rows()[table.rows().len() - 1].id.clone();
        assert!(seen.insert(made.clone()) && made.len() <= 3, "{made}");
        let gone = TableAct::Delete { row: RowRef::Index(table.rows().len() as u32 - 1) };
        assert_eq!(act(&mut table, &gone, 1), Ok(()));
    }
}

/// A cell as the naive table knows it: value, revision, who.
type NaiveCell = (String, u64, Option<String>);

/// Rows as lists, and nothing that could be out of step with them. Its only order is that of the acts.
#[derive(Clone, PartialEq, Debug)]
struct Naive {
    rows: Vec<(String, Vec<NaiveCell>)>,
    rows_max: usize,
    bytes_max: usize,
    ever: Vec<String>,
}

impl Naive {
    fn bytes(&self) -> usize {
        let row = |(id, cells): &(String, Vec<NaiveCell>)| {
            id.len() + cells.iter().map(|(value, _, _)| value.len()).sum::<usize>()
        };
        self.rows.iter().map(row).sum()
    }

    fn place(&self, place: &RowPlace) -> Result<usize, &'static str> {
        let find = |other: &RowId| self.rows.iter().position(|(id, _)| *id == **other).ok_or("unknown_row");
        match place {
            RowPlace::First => Ok(0),
            RowPlace::Last => Ok(self.rows.len()),
            RowPlace::Before(other) => find(other),
            RowPlace::After(other) => Ok(find(other)? + 1),
        }
    }

    fn row(&self, row: &RowRef) -> Result<usize, &'static str> {
        let found = match row {
            RowRef::Id(wanted) => self.rows.iter().position(|(id, _)| *id == **wanted),
            RowRef::Index(index) => (0..self.rows.len()).find(|at| *at == *index as usize),
        };
        found.ok_or("unknown_row")
    }

    fn column(column: &str) -> Result<usize, &'static str> {
        COLUMNS.iter().position(|known| *known == column).ok_or("unknown_column")
    }

    /// What the act makes of a copy. `made`: the id that the fast one gave to a row.
    fn act(&self, act: &TableAct, by: Option<&str>, revision: u64, made: Option<&str>) -> Result<Naive, &'static str> {
        let mut next = self.clone();
        let by = by.map(str::to_owned);
        let cell = |value: &CellValue| match value.0.len() {
            0..=CELL_BYTES_MAX => Ok((value.0.to_string(), revision, by.clone())),
            _ => Err("too_long"),
        };
        match act {
            TableAct::Set(cells) => {
                for set in cells {
                    let (row, column) = (self.row(&set.row)?, Naive::column(&set.column)?);
                    let value = cell(&set.value)?;
                    if set.if_rev.is_some_and(|revision| revision != self.rows[row].1[column].1) {
                        return Err("stale");
                    }
                    next.rows[row].1[column] = value;
                }
            }
            TableAct::Insert { row, place, cells } => {
                let id = row.as_deref().or(made).unwrap_or("made");
                if self.rows.iter().any(|(known, _)| known == id) {
                    return Err("row_exists");
                }
                let place = self.place(place)?;
                let mut values = vec![cell(&CellValue::text(""))?; COLUMNS.len()];
                for (column, value) in cells {
                    let column = Naive::column(column)?;
                    values[column] = cell(value)?;
                }
                next.rows.insert(place, (id.to_owned(), values));
                next.ever.push(id.to_owned());
            }
            TableAct::Move { row, place } => {
                let (row, place) = (self.row(row)?, self.place(place)?);
                // A hole where it stood, so that places stay what they were.
                let moved = std::mem::take(&mut next.rows[row]);
                next.rows.insert(place, moved);
                next.rows.retain(|(id, _)| !id.is_empty());
            }
            TableAct::Delete { row } => {
                next.rows.remove(self.row(row)?);
            }
        }
        let full = next.rows.len() > self.rows_max || next.bytes() > self.bytes_max && next.bytes() > self.bytes();
        if full { Err("full") } else { Ok(next) }
    }
}

fn some_row(random: &mut StdRng) -> RowId {
    let number = random.random_range(1..9);
    if random.random() { format!("r{number}").into() } else { format!("{number}").into() }
}

fn some_ref(random: &mut StdRng) -> RowRef {
    if random.random() { RowRef::Id(some_row(random)) } else { RowRef::Index(random.random_range(0..7)) }
}

fn some_place(random: &mut StdRng) -> RowPlace {
    match random.random_range(0..4) {
        0 => RowPlace::First,
        1 => RowPlace::Last,
        2 => RowPlace::Before(some_row(random)),
        _ => RowPlace::After(some_row(random)),
    }
}

fn some_cell(random: &mut StdRng) -> (CompactString, CellValue) {
    let column = COLUMNS.get(random.random_range(0..20_usize) % 4).unwrap_or(&"?");
    let column = if random.random_range(0..4) == 0 { *column } else { COLUMNS[random.random_range(0..3)] };
    (column.into(), CellValue::text(&"x".repeat(random.random_range(0..12))))
}

fn some_act(random: &mut StdRng, revision: u64) -> TableAct {
    match random.random_range(0..10) {
        0..5 => {
            let cells = (0..random.random_range(1..4)).map(|_| {
                let (column, value) = some_cell(random);
                let if_rev = (random.random_range(0..4) == 0).then(|| random.random_range(0..revision));
                CellSet { row: some_ref(random), column, value, if_rev }
            });
            TableAct::Set(cells.collect())
        }
        5..7 => {
            let row = random.random::<bool>().then(|| some_row(random));
            let cells = (0..random.random_range(0..3)).map(|_| some_cell(random)).collect();
            TableAct::Insert { row, place: some_place(random), cells }
        }
        7..9 => TableAct::Move { row: some_ref(random), place: some_place(random) },
        _ => TableAct::Delete { row: some_ref(random) },
    }
}

fn check(table: &Table, naive: &Naive) {
    let cell = |cell: &Cell| (cell.value.0.to_string(), cell.revision, cell.by.as_ref().map(|by| by.to_string()));
    let row = |row: &Row| (row.id.to_string(), row.cells.iter().map(cell).collect());
    let rows: Vec<(String, Vec<NaiveCell>)> = table.rows().iter().map(row).collect();
    assert_eq!(rows, naive.rows);
    assert_eq!(table.bytes(), naive.bytes());
    for (index, row) in table.rows().iter().enumerate() {
        assert_eq!(table.index_of(&row.id), Ok(index));
    }
    assert_eq!(table.by_id.len(), table.rows.len());
}

#[test]
fn a_naive_table_judges_and_a_mirror_follows() {
    let mut outcomes = BTreeMap::new();
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let (rows_max, bytes_max) = (random.random_range(2..8), random.random_range(40..200));
        let spec = spec(&[("1", ["明", "18", "男"]), ("r2", ["", "", ""])], rows_max, bytes_max);
        let mut table = Table::new(spec.clone());
        let mut mirror = Table::new(spec);
        let cell = |value: &str| (CellValue::text(value).0.to_string(), 0, None);
        let rows = vec![
            ("1".to_owned(), ["明", "18", "男"].map(cell).to_vec()),
            ("r2".to_owned(), ["", "", ""].map(cell).to_vec()),
        ];
        let mut naive = Naive { rows, rows_max, bytes_max, ever: vec!["1".into(), "r2".into()] };
        let mut revision = 1;
        for step in 0..150 {
            let act = some_act(&mut random, revision);
            let by: Option<UserName> = random.random::<bool>().then(|| "小明".into());
            let before = table.clone();
            let decided = table.decide(&act, by.as_ref());
            assert_eq!(table, before, "judging changes nothing");
            let made = decided.as_ref().ok().and_then(|change| match &change.edit {
                Edit::Insert { row, .. } => Some(row.as_str()),
                Edit::Cells(_) | Edit::Move { .. } | Edit::Delete { .. } => None,
            });
            let what = || format!("seed {seed}, step {step}: {act:?}");
            if matches!(act, TableAct::Insert { row: None, .. })
                && let Some(made) = made
            {
                assert!(!naive.ever.iter().any(|id| id == made), "{}: {made} was there", what());
            }
            match (&decided, naive.act(&act, by.as_deref(), revision, made)) {
                (Ok(change), Ok(next)) => {
                    table.apply(change, revision);
                    mirror.apply(change, revision);
                    (naive, revision) = (next, revision + 1);
                    *outcomes.entry("done").or_insert(0) += 1;
                }
                (Err(refusal), Err(code)) => {
                    assert_eq!(refusal.code(), code, "{}", what());
                    *outcomes.entry(code).or_insert(0) += 1;
                }
                (decided, judged) => panic!("{}: {decided:?}, not {judged:?}", what()),
            }
            check(&table, &naive);
            assert_eq!(table, mirror, "{}", what());
        }
    }
    for outcome in ["done", "unknown_row", "unknown_column", "too_long", "stale", "row_exists", "full"] {
        assert!(outcomes.get(outcome).is_some_and(|count| *count > 100), "{outcome}: {outcomes:?}");
    }
}
