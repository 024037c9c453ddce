//! The bodies of the fuzz targets over the committed corpora, and over mutations of these.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use tallycast::fuzzing::{Reach, TARGETS, shard_reach};

/// Mutations of each target's corpus, unless the environment says how many.
const MUTATIONS: u64 = 2000;
const MUTATIONS_VARIABLE: &str = "TALLYCAST_FUZZ_MUTATIONS";
/// Bytes of all corpora together.
const CORPORA_BYTES_MAX: usize = 300 << 10;
/// No mutation is longer.
const MUTATION_BYTES_MAX: usize = 4096;

#[test]
fn every_target_has_its_line_and_its_corpus() {
    let fuzz = root().join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let mut bytes = 0;
    for (name, _) in TARGETS {
        let line = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(line.contains(&format!("tallycast::fuzzing::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let corpus = corpus(name);
        assert!(corpus.len() >= 5, "{name} has {} seeds", corpus.len());
        bytes += corpus.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    assert!(bytes <= CORPORA_BYTES_MAX, "{bytes} bytes");
    for folder in ["fuzz_targets", "seeds"] {
        assert_eq!(fs::read_dir(fuzz.join(folder)).unwrap().count(), TARGETS.len(), "{folder}");
    }
}

#[test]
fn corpora_and_mutations_of_them() {
    let failed: Vec<String> = TARGETS.iter().filter_map(|(name, body)| first_failure(name, *body).err()).collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

/// Goes on with the next target: what fails is often not alone.
fn first_failure(name: &str, body: fn(&[u8])) -> Result<(), String> {
    let corpus = corpus(name);
    for (file, bytes) in &corpus {
        catch_unwind(|| body(bytes)).map_err(|_| format!("{name}: {}", file.display()))?;
    }
    let mutations = std::env::var(MUTATIONS_VARIABLE).map_or(MUTATIONS, |number| number.parse().expect("a number"));
    for seed in 1..=mutations {
        let bytes = mutation(&corpus, seed);
        catch_unwind(|| body(&bytes)).map_err(|_| {
            let kept = std::env::temp_dir().join(format!("{name}-{seed}"));
            match fs::write(&kept, &bytes) {
                Ok(()) => format!("{name}: seed {seed}, the bytes are in {}", kept.display()),
                Err(error) => format!("{name}: seed {seed} ({error}): {}", bytes.escape_ascii()),
            }
        })?;
    }
    Ok(())
}

/// The shard's corpus comes to everything that its clients know to judge; otherwise they would judge nothing.
#[test]
fn the_corpus_of_the_shard_comes_far() {
    let mut sum = [0; 15];
    for (_, bytes) in corpus("shard") {
        let Reach {
            responses,
            refusals,
            websockets,
            event_streams,
            snapshots,
            resumed,
            publications,
            steps,
            acknowledged,
            closes,
            polls,
            own_passed,
            changes,
            names,
            cells,
        } = shard_reach(&bytes);
        let one = [
            responses,
            refusals,
            websockets,
            event_streams,
            snapshots,
            resumed,
            publications,
            steps,
            acknowledged,
            closes,
            polls,
            own_passed,
            changes,
            names,
            cells,
        ];
        for (sum, one) in sum.iter_mut().zip(one) {
            *sum += one;
        }
    }
    assert!(sum.iter().all(|count| *count > 0), "{sum:?}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("fuzz/seeds").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// Random numbers from a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }
}

/// A file of the corpus, changed in up to eight places.
fn mutation(corpus: &[(PathBuf, Vec<u8>)], seed: u64) -> Vec<u8> {
    const BYTES: &[u8] = b"\0\x01\x7f\x80\xff\r\n \t:;,=%\"0{[.-";
    let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
    let mut bytes = corpus[random.below(corpus.len())].1.clone();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() + 1);
        let end = at + random.below(bytes.len() + 1 - at).min(40);
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => _ = bytes.drain(at..end),
            2 => bytes.insert(at, random.below(256) as u8),
            3 => bytes.insert(at, BYTES[random.below(BYTES.len())]),
            4 => {
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            5 => {
                let other = &corpus[random.below(corpus.len())].1;
                let from = random.below(other.len() + 1);
                let part = &other[from..from + random.below(other.len() + 1 - from)];
                bytes.splice(at..at, part.iter().copied());
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
    bytes.truncate(MUTATION_BYTES_MAX);
    bytes
}
