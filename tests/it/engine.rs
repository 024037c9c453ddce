//! What every engine must do. The tests take an engine and know nothing of which; a second engine joins by one line.

mod model;
mod random;
mod suite;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tallycast::base::hash::Seed;
use tallycast::base::keys::CoreId;
use tallycast::base::time::Time;
use tallycast::engine::embedded::{Embedded, Keep, Outbox};
use tallycast::engine::{Batch, ChannelSpec, ClassId, Data, EngineMail, Publication, TallyOption};

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
#[cfg(feature = "faults")]
const FAULT: ClassId = ClassId(6);

const IDLE: Duration = Duration::from_secs(10);
const HISTORY: usize = 3;
const OPTIONS: [&str; 3] = ["a", "b", "明"];

/// One class of each sort, found by the constants above.
fn specs() -> Vec<Option<ChannelSpec>> {
    let spec = |data: &Data, durable, idle| {
        Some(ChannelSpec {
            data: data.clone(),
            history_publications_max: HISTORY,
            history_bytes_max: 1 << 20,
            durable,
            idle,
        })
    };
    let options =
        OPTIONS.iter().map(|&id| TallyOption { id: id.into(), labels: vec![("en".into(), id.to_uppercase())] });
    let tally = Data::Tally { options: options.collect() };
    vec![
        spec(&Data::Log, false, None),
        spec(&tally, false, None),
        spec(&tally, true, None),
        spec(&tally, false, Some(IDLE)),
        None,
        spec(&Data::Log, true, None),
        #[cfg(feature = "faults")]
        spec(&Data::Fault, false, None),
    ]
}

suite::run_on!(Local as embedded);
