//! `table`: a message changes cells or rows, or says which cell its sender edits.

use super::{Deed, Message, Sender};
use crate::base::limits::{CELLS_AT_ONCE_MAX, Limits};
use crate::engine::{Act, Refusal, TableAct};

const EXPECTED: &str = "a change of cells or rows";
const CELLS: &str = "1 to 1000 cells at a time";

pub(super) fn receive(limits: &Limits, who: Sender<'_>, message: Message<'_>) -> Result<Deed, Refusal> {
    let by = who.user.cloned();
    match message {
        Message::Table(act) => {
            let values: Vec<_> = match act {
                TableAct::Set(cells) if cells.is_empty() || cells.len() > CELLS_AT_ONCE_MAX => {
                    return Err(Refusal::Malformed { expected: CELLS });
                }
                TableAct::Set(cells) => cells.iter().map(|cell| &cell.value).collect(),
                TableAct::Insert { cells, .. } => cells.iter().map(|(_, value)| value).collect(),
                TableAct::Move { .. } | TableAct::Delete { .. } => Vec::new(),
            };
            if values.iter().any(|value| value.0.len() > limits.cell_bytes_max) {
                return Err(Refusal::TooLong { bound: "at most limits.cell_bytes_max bytes in a cell" });
            }
            Ok(Deed::Op(Act::Table { act: act.clone(), by }))
        }
        Message::Editing(cell) => Ok(Deed::Op(Act::Editing { cell: cell.cloned(), by })),
        Message::Text(_) | Message::Binary(_) | Message::To { .. } => Err(Refusal::Malformed { expected: EXPECTED }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{CellName, CellSet, CellValue, RowRef};
    use crate::kind::By;

    #[test]
    fn changes_are_bounded() {
        let limits = Limits { cell_bytes_max: 8, ..Limits::default() };
        let who = Sender { by: By::Listener, user: None };
        let set = |value: &str| CellSet {
            row: RowRef::Index(0),
            column: "name".into(),
            value: CellValue::text(value),
            if_rev: None,
        };
        let good = TableAct::Set(vec![set("小明")]);
        let op = Act::Table { act: good.clone(), by: None };
        assert_eq!(receive(&limits, who, Message::Table(&good)), Ok(Deed::Op(op)));
        let long = TableAct::Set(vec![set("x"), set("小小小")]);
        assert!(matches!(receive(&limits, who, Message::Table(&long)), Err(Refusal::TooLong { .. })));
        for len in [0, CELLS_AT_ONCE_MAX + 1] {
            let act = TableAct::Set(vec![set("x"); len]);
            assert_eq!(receive(&limits, who, Message::Table(&act)), Err(Refusal::Malformed { expected: CELLS }));
        }
        let cell = CellName { row: "r1".into(), column: "name".into() };
        let editing = Act::Editing { cell: Some(cell.clone()), by: None };
        assert_eq!(receive(&limits, who, Message::Editing(Some(&cell))), Ok(Deed::Op(editing)));
        assert!(receive(&limits, who, Message::Text("x")).is_err());
    }
}
