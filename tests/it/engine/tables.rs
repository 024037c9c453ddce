//! Scenes: tables, and who edits what.

use tallycast::engine::{Act, CellName, CellSet, CellValue, RowPlace, RowRef, TableAct};

use super::bench::{Bench, EDIT_NOTHING, NEW, attach, cast, edit, say, table};
use super::{ECHO, Engine, FULL_USERS, LOG, POLL, SAVED_TABLE, SMALL_TABLE, TABLE};

/// One cell, written `row.column`.
pub(super) fn set(cell: &str, value: &str, if_rev: Option<u64>) -> CellSet {
    let (row, column) = cell.split_once('.').expect("row and column");
    CellSet { row: RowRef::Id(row.into()), column: column.into(), value: CellValue::text(value), if_rev }
}

pub(super) fn write(cell: &str, value: &str) -> Act {
    table(TableAct::Set(vec![set(cell, value, None)]))
}

fn insert(row: Option<&str>, place: RowPlace) -> Act {
    let cells = vec![("b".into(), CellValue::text("新"))];
    table(TableAct::Insert { row: row.map(Into::into), place, cells })
}

fn delete(row: &str) -> Act {
    table(TableAct::Delete { row: RowRef::Id(row.into()) })
}

pub(super) fn a_table_changes_one_publication_at_a_time<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    let line = r#"1 #1 t attached 0 1: "明" 18 2: "" null, 0 listen, recent"#;
    assert_eq!(bench.send(1, &[("t", TABLE, NEW)]), [line]);
    let ops = [
        ("t", TABLE, write("2.b", "x")),
        ("t", TABLE, insert(Some("x"), RowPlace::First)),
        ("t", TABLE, table(TableAct::Move { row: RowRef::Index(0), place: RowPlace::After("1".into()) })),
        ("t", TABLE, delete("2")),
        (
            "t",
            TABLE,
            Act::Table { act: TableAct::Set(vec![set("x.a", "y", Some(2)), set("1.b", "", Some(0))]), by: None },
        ),
    ];
    assert_eq!(
        bench.send(0, &ops),
        [
            r#"1 t 1: 2[1].1="x" by bob"#,
            "0 #2 t accepted 1",
            r#"1 t 2: x at 0 "" "新" by bob"#,
            "0 #3 t accepted 2",
            "1 t 3: x from 0 to 1 by bob",
            "0 #4 t accepted 3",
            "1 t 4: 2 gone from 2 by bob",
            "0 #5 t accepted 4",
            r#"1 t 5: x[1].0="y" 1[0].1="""#,
            "0 #6 t accepted 5",
        ]
    );
    let state = r#"1: "明" ""@5 x: "y"@5 "新"@2 by bob"#;
    let lines = bench.send(2, &[("t", TABLE, NEW)]);
    assert_eq!(lines, [format!("2 #7 t attached 5 {state}, 0 listen, recent 3-3 4-4 5-5")]);
    let lines = bench.send(2, &[("t", TABLE, attach(bench.at(4)))]);
    assert_eq!(lines, [format!("2 #8 t attached 5 {state}, 0 listen, recent 5-5")]);
    // A row that gets no id has one that is not used, and never was.
    let mut made = std::collections::HashSet::new();
    for _ in 0..3 {
        let lines = bench.send(0, &[("t", TABLE, insert(None, RowPlace::Last))]);
        let id = lines[0].split(' ').nth(3).expect("an id").to_owned();
        assert!(!id.is_empty() && id.len() < 10 && made.insert(id.clone()), "{lines:?}");
        assert_eq!(bench.send(0, &[("t", TABLE, delete(&id))]).len(), 3);
    }
}

pub(super) fn refusals_of_tables<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(0, &[("t", TABLE, write("1.a", "x"))]);
    let row = |row: &str| TableAct::Insert { row: Some(row.into()), place: RowPlace::Last, cells: Vec::new() };
    let wrong_type = "wrong_type: a message that fits the channel's kind";
    let unknown_row = "unknown_row: the id, or the index, of a row that is there";
    let several = |cells: &[(&str, Option<u64>)]| {
        table(TableAct::Set(cells.iter().map(|(cell, if_rev)| set(cell, "new", *if_rev)).collect()))
    };
    let rows = [
        ("t", TABLE, cast("a"), wrong_type),
        ("t", TABLE, say("a"), wrong_type),
        ("l", LOG, write("1.a", "x"), wrong_type),
        ("p", POLL, write("1.a", "x"), wrong_type),
        ("e", ECHO, write("1.a", "x"), wrong_type),
        ("l", LOG, edit("1.a"), wrong_type),
        ("p", POLL, EDIT_NOTHING, wrong_type),
        ("t", TABLE, write("9.a", "x"), unknown_row),
        ("t", TABLE, write("1.c", "x"), "unknown_column: a, b"),
        ("t", TABLE, delete("9"), unknown_row),
        ("t", TABLE, table(row("2")), "row_exists: a row id that is not used yet, or none"),
        ("t", TABLE, write("1.a", "1234567890123456789"), "too_long: at most limits.cell_bytes_max bytes in a cell"),
        ("t", TABLE, edit("9.a"), unknown_row),
        ("t", TABLE, edit("1.c"), "unknown_column: a, b"),
        // All or nothing; the first that is wrong.
        ("t", TABLE, several(&[("2.a", None), ("1.a", Some(0)), ("9.a", None)]), r#"stale: 1.a="x"@1 by bob"#),
        ("t", TABLE, several(&[("2.a", Some(0)), ("9.a", None), ("1.a", Some(0))]), unknown_row),
        ("t", TABLE, several(&[("2.a", Some(1))]), r#"stale: 2.a=""@0"#),
    ];
    for (channel, class, act, refusal) in rows {
        let lines = bench.send(0, &[(channel, class, act)]);
        assert_eq!(lines, [format!("0 #{} {channel} {refusal}", bench.tickets)]);
    }
    let lines = bench.send(0, &[("t", TABLE, NEW)]);
    assert!(lines[0].contains(r#" attached 1 1: "x"@1 by bob 18 2: "" null, "#), "{lines:?}");
    // Four rows, and so many bytes.
    let lines =
        bench.send(0, &[("t", TABLE, table(row("3"))), ("t", TABLE, table(row("4"))), ("t", TABLE, table(row("5")))]);
    assert!(lines[4].ends_with("full: limits.table_rows_max"), "{lines:?}");
    let long = "12345678901234";
    let ops = ["1.a", "1.b", "2.a", "2.b"].map(|cell| ("small", SMALL_TABLE, write(cell, long)));
    let lines = bench.send(0, &ops);
    assert!(lines[3].ends_with("full: limits.table_bytes_max"), "{lines:?}");
}

pub(super) fn durable_tables_wait<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(0, &[("s", SAVED_TABLE, NEW)]);
    assert_eq!(bench.send(0, &[("s", SAVED_TABLE, write("1.a", "x"))]), [""; 0]);
    assert_eq!(bench.send(1, &[("s", SAVED_TABLE, NEW), ("s", SAVED_TABLE, write("9.a", "x"))]), [""; 0]);
    assert_eq!(bench.send(1, &[("s", SAVED_TABLE, edit("1.a"))]), [""; 0]);
    assert_eq!(
        bench.save(),
        [
            r#"0 s 1: 1[0].0="x" by bob"#,
            "0 #2 s accepted 1",
            r#"1 #3 s attached 1 1: "x"@1 by bob 18 2: "" null, 0 listen, recent 1-1"#,
            "1 #4 s unknown_row: the id, or the index, of a row that is there",
            "1 #5 s accepted 1",
            "0 s editing c1.100000000 1.a",
            "1 s editing c1.100000000 1.a",
        ]
    );
    assert_eq!(bench.save(), [""; 0]);
}

pub(super) fn who_edits_is_told_at_once_then_paced<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(0, &[("t", TABLE, NEW)]);
    let by_ming =
        Act::Editing { cell: Some(CellName { row: "1".into(), column: "a".into() }), by: Some("小明".into()) };
    assert_eq!(
        bench.send(0, &[("t", TABLE, by_ming.clone())]),
        ["0 #2 t accepted 0", "0 t editing c0.100000000 by 小明 1.a"]
    );
    // Others, and again, within the pace: the latest counts, in the order of the latest.
    let go = |bench: &mut Bench<E>, who, core, act| {
        let lines = bench.send_as(who, core, &[("t", TABLE, act)]);
        assert_eq!(lines, [format!("{core} #{} t accepted 0", bench.tickets)]);
    };
    go(&mut bench, 1, 0, edit("1.b"));
    go(&mut bench, 0, 2, edit("2.a"));
    bench.wait(100);
    go(&mut bench, 1, 0, edit("2.b"));
    // Who attaches has it all, and is told nothing of it.
    let lines = bench.send(1, &[("t", TABLE, NEW)]);
    let (ming, second, third) = ("c0.100000000 by 小明 1.a", "c0.200000001 2.b", "c2.100000000 2.a");
    assert!(lines[0].ends_with(&format!("recent, {ming}, {second}, {third}")), "{lines:?}");
    assert!(bench.wait(99).is_empty());
    assert_eq!(bench.wait(1), [format!("0 t editing {third}"), format!("0 t editing {second}")]);
    // What comes back to what is known is not told; but to who came in between.
    go(&mut bench, 1, 0, edit("1.a"));
    bench.send(2, &[("t", TABLE, NEW)]);
    go(&mut bench, 1, 0, edit("2.b"));
    go(&mut bench, 0, 0, EDIT_NOTHING);
    go(&mut bench, 0, 0, by_ming);
    assert_eq!(bench.wait(200), [format!("2 t editing {second}")]);
    // Who edits nothing may say so.
    go(&mut bench, 3, 3, EDIT_NOTHING);
    go(&mut bench, 0, 0, EDIT_NOTHING);
    go(&mut bench, 0, 0, EDIT_NOTHING);
    let nothing = |core| format!("{core} t editing c0.100000000 by 小明 nothing");
    assert_eq!(bench.wait(200), [nothing(0), nothing(1), nothing(2)]);
    assert_eq!(bench.wait(1000), [""; 0]);
    let lines = bench.send(3, &[("t", TABLE, NEW)]);
    assert!(lines[0].ends_with(&format!("recent, {second}, {third}")), "{lines:?}");
}

pub(super) fn a_mark_ends_with_its_row_and_with_its_core<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    bench.send(0, &[("t", TABLE, NEW)]);
    bench.send(1, &[("t", TABLE, NEW), ("t", TABLE, edit("1.a"))]);
    bench.wait(1000);
    bench.send(0, &[("t", TABLE, edit("2.a"))]);
    bench.wait(1000);
    let lines = bench.send(0, &[("t", TABLE, delete("2"))]);
    let ended = |core, who| format!("{core} t editing {who} nothing");
    assert_eq!(lines[3..], [ended(0, "c0.100000000"), ended(1, "c0.100000000")]);
    bench.wait(1000);
    assert_eq!(bench.send(1, &[("t", TABLE, Act::Detach)]), [ended(0, "c1.100000000")]);
    bench.wait(1000);
    let lines = bench.send(1, &[("t", TABLE, NEW)]);
    assert!(lines[0].ends_with("recent 1-1"), "{lines:?}");
    // A row that comes again under the same id is another.
    let lines = bench.send(0, &[("t", TABLE, insert(Some("2"), RowPlace::Last)), ("t", TABLE, NEW)]);
    assert!(lines[3].ends_with("recent 1-1 2-2"), "{lines:?}");
    assert_eq!(bench.wait(1000), [""; 0]);
}

pub(super) fn marks_are_bounded<E: Engine>() {
    let mut bench: Bench<E> = Bench::new(9);
    for who in 0..FULL_USERS {
        assert!(bench.send_as(who, 0, &[("t", TABLE, edit("1.a"))])[0].ends_with("accepted 0"));
    }
    let full =
        |bench: &mut Bench<E>| bench.send_as(0, 1, &[("t", TABLE, edit("1.a"))])[0].ends_with("full: limits.users_max");
    assert!(full(&mut bench));
    assert!(bench.send_as(0, 1, &[("t", TABLE, EDIT_NOTHING)])[0].ends_with("accepted 0"));
    assert!(bench.send_as(1, 0, &[("t", TABLE, edit("2.a"))])[0].ends_with("accepted 0"), "it is there already");
    bench.send_as(1, 0, &[("t", TABLE, EDIT_NOTHING)]);
    assert!(!full(&mut bench));
    assert!(bench.send_as(1, 0, &[("t", TABLE, edit("2.a"))])[0].contains("full"));
    bench.send(0, &[("t", TABLE, Act::Detach)]);
    assert!(bench.send_as(1, 2, &[("t", TABLE, edit("2.a"))])[0].ends_with("accepted 0"));
}
