//! What every engine must do. The tests take an engine and know nothing of which; a second engine joins by one line.

mod bench;
mod model;
mod ops;
mod people;
mod random;
mod sheet;
mod suite;
mod tables;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tallycast::base::hash::Seed;
use tallycast::base::keys::CoreId;
use tallycast::base::time::Time;
use tallycast::engine::embedded::{Embedded, Keep, Outbox};
use tallycast::engine::{
    Batch, CellValue, ChannelSpec, ClassId, Column, Data, EngineMail, Publication, TableSpec, TallyOption,
};

type Mail = Vec<(CoreId, EngineMail)>;

/// An engine with its disk, as the tests drive it.
trait Engine: Sized {
    fn start(specs: Vec<Option<ChannelSpec>>, channels_max: usize, seed: u64, now: Time) -> Self;
    fn batch(&mut self, batch: Batch, now: Time) -> Mail;
    fn advance(&mut self, now: Time) -> (Mail, Option<Time>);
    /// Saves the oldest batch that waits for the disk: what was saved, and the mail that had waited for it.
    fn save(&mut self) -> Option<(Vec<Arc<Publication>>, Mail)>;
}

struct Local {
    engine: Embedded,
    unsaved: VecDeque<Keep>,
}

impl Local {
    fn take(&mut self, out: Outbox) -> Mail {
        self.unsaved.extend(out.keep);
        out.mail
    }
}

impl Engine for Local {
    fn start(specs: Vec<Option<ChannelSpec>>, channels_max: usize, seed: u64, now: Time) -> Local {
        Local { engine: Embedded::new(specs, channels_max, Seed(seed, !seed), now), unsaved: VecDeque::new() }
    }

    fn batch(&mut self, batch: Batch, now: Time) -> Mail {
        let mut out = Outbox::default();
        self.engine.batch(batch, now, &mut out);
        self.take(out)
    }

    fn advance(&mut self, now: Time) -> (Mail, Option<Time>) {
        let mut out = Outbox::default();
        let next = self.engine.advance(now, &mut out);
        (self.take(out), next)
    }

    fn save(&mut self) -> Option<(Vec<Arc<Publication>>, Mail)> {
        let keep = self.unsaved.pop_front()?;
        let mut out = Outbox::default();
        self.engine.committed(keep.number, &mut out);
        assert!(out.keep.is_empty());
        Some((keep.publications, out.mail))
    }
}

const LOG: ClassId = ClassId(0);
const POLL: ClassId = ClassId(1);
const SAVED: ClassId = ClassId(2);
const ROOM: ClassId = ClassId(3);
const ECHO: ClassId = ClassId(4);
const SAVED_LOG: ClassId = ClassId(5);
const TABLE: ClassId = ClassId(6);
const SAVED_TABLE: ClassId = ClassId(7);
const DM: ClassId = ClassId(8);
const SMALL_TABLE: ClassId = ClassId(9);
const KEPT: ClassId = ClassId(10);
#[cfg(feature = "faults")]
const FAULT: ClassId = ClassId(11);

const IDLE: Duration = Duration::from_secs(10);
/// Instead, where what nobody heard is kept.
const UNHEARD: Duration = Duration::from_secs(100);
const HISTORY: usize = 3;
const OPTIONS: [&str; 3] = ["a", "b", "明"];
/// So many names or marks, and one more is refused.
const FULL_USERS: usize = 3;
const COLUMNS: [&str; 2] = ["a", "b"];
const ROWS_MAX: usize = 4;
const CELL_BYTES_MAX: usize = 18;

fn sheet(bytes_max: usize) -> TableSpec {
    let value = |json: &str| CellValue(json.into());
    TableSpec {
        columns: COLUMNS.map(|id| Column { id: id.into(), labels: Vec::new() }).into(),
        rows: vec![("1".into(), vec![value("\"明\""), value("18")]), ("2".into(), vec![value("\"\""), value("null")])],
        rows_max: ROWS_MAX,
        cell_bytes_max: CELL_BYTES_MAX,
        bytes_max,
    }
}

/// One class of each sort, found by the constants above.
fn specs() -> Vec<Option<ChannelSpec>> {
    let spec = |data: &Data, durable, idle| {
        Some(ChannelSpec {
            data: data.clone(),
            history_publications_max: HISTORY,
            history_bytes_max: 1 << 20,
            durable,
            idle,
            unheard: None,
            users_max: FULL_USERS,
        })
    };
    let options =
        OPTIONS.iter().map(|&id| TallyOption { id: id.into(), labels: vec![("en".into(), id.to_uppercase())] });
    let tally = Data::Tally { options: options.collect() };
    let table = Data::Table(Arc::new(sheet(1000)));
    vec![
        spec(&Data::Log, false, None),
        spec(&tally, false, None),
        spec(&tally, true, None),
        spec(&tally, false, Some(IDLE)),
        None,
        spec(&Data::Log, true, None),
        spec(&table, false, None),
        spec(&table, true, None),
        spec(&Data::Log, false, Some(IDLE)),
        spec(&Data::Table(Arc::new(sheet(60))), false, None),
        spec(&Data::Log, false, Some(IDLE)).map(|spec| ChannelSpec { unheard: Some(UNHEARD), ..spec }),
        #[cfg(feature = "faults")]
        spec(&Data::Fault, false, None),
    ]
}

suite::run_on!(Local as embedded);
