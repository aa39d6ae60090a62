//! Any input is answered: no panic, no hang, no growth.
//!
//! Each target takes the inputs that are kept in `corpus/fuzz/TARGET`, then changed ones until its time is over: some
//! seconds among the other tests, `TIDINGS_FUZZ_MINUTES` with `make fuzz`. An input that fails is printed, kept in
//! the corpus and thereby tried first from then on. `TIDINGS_TEST_SEED` repeats a run.

mod definitions;

mod documents;

mod endpoint;

mod mutate;

mod requests;

mod texts;

mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::note;
use watch::Watch;

/// How long a target runs among the other tests.
const SHORT: Duration = Duration::from_secs(8);
/// No input takes this long, on a busy machine either.
const INPUT_TIME_MAX: Duration = Duration::from_secs(40);

/// One target's run.
struct Fuzz {
    target: &'static str,
    seed: u64,
    kept: Vec<Vec<u8>>,
    /// Words that the target's inputs are made of.
    words: &'static [&'static str],
    began: Instant,
    time: Duration,
    tried: u64,
    slowest: Duration,
    /// What this process held at the start; all targets of a run share it.
    began_kib: u64,
    watch: Watch,
}

/// The memory that a process holds.
fn resident_kib(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/fuzz").join(target)
}

impl Fuzz {
    fn new(target: &'static str, words: &'static [&'static str]) -> Self {
        let files = std::fs::read_dir(folder(target)).expect("the target's corpus");
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        let kept = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        Self::with(target, words, kept)
    }

    fn with(target: &'static str, words: &'static [&'static str], kept: Vec<Vec<u8>>) -> Self {
        let minutes = std::env::var("TIDINGS_FUZZ_MINUTES").ok();
        let time = minutes.map_or(SHORT, |text| {
            let minutes: f64 = text.parse().expect("TIDINGS_FUZZ_MINUTES is a number");
            Duration::from_secs_f64(minutes * 60.0)
        });
        let seed =
            std::env::var("TIDINGS_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
        assert!(!kept.is_empty(), "{target}: the corpus is empty");
        let (began, watch) = (Instant::now(), Watch::new(target));
        Self {
            target,
            seed,
            kept,
            words,
            began,
            time,
            tried: 0,
            slowest: Duration::ZERO,
            began_kib: resident_kib("self"),
            watch,
        }
    }

    /// The randomness of the input that is tried now.
    fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_add(self.tried))
    }

    /// The next input: what is kept as it is, then changed; nothing when the time is over.
    fn input(&mut self) -> Option<Vec<u8>> {
        let index = usize::try_from(self.tried).unwrap();
        self.tried += 1;
        if let Some(kept) = self.kept.get(index) {
            return Some(kept.clone());
        }
        (self.began.elapsed() < self.time).then(|| {
            let mut rng = self.rng();
            let mut input = self.kept[rng.random_range(0..self.kept.len())].clone();
            mutate::mutate(&mut input, &self.kept, self.words, &mut rng);
            input
        })
    }

    /// Tries inputs until the time is over. What panics or takes too long has failed.
    fn run(&mut self, mut attempt: impl FnMut(&[u8], &mut StdRng)) {
        while let Some(input) = self.input() {
            self.guard(&input, |rng| attempt(&input, rng));
        }
        self.report("");
    }

    fn guard(&mut self, input: &[u8], attempt: impl FnOnce(&mut StdRng)) {
        let mut rng = self.rng();
        let began = self.watch.begin(input);
        let outcome = catch_unwind(AssertUnwindSafe(|| attempt(&mut rng)));
        self.watch.end();
        self.slowest = self.slowest.max(began.elapsed());
        if let Err(panic) = outcome {
            self.keep(input);
            resume_unwind(panic);
        }
    }

    /// Prints an input that has failed, and keeps it.
    fn keep(&self, input: &[u8]) {
        keep(self.target, self.seed, input);
    }

    /// Says how much was tried.
    fn report(&self, more: &str) {
        let text = format!(
            "{}: {} inputs in {:.1} s, seed {}, slowest {:.0} ms; all targets together {} KiB, then {} KiB{more}",
            self.target,
            self.tried - 1,
            self.began.elapsed().as_secs_f64(),
            self.seed,
            self.slowest.as_secs_f64() * 1000.0,
            self.began_kib,
            resident_kib("self")
        );
        println!("fuzz {text}");
        note(&text);
    }
}

fn keep(target: &str, seed: u64, input: &[u8]) {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let file = folder(target).join(format!("found-{:016x}", hasher.finish()));
    let _ = std::fs::create_dir_all(folder(target));
    let _ = std::fs::write(&file, input);
    eprintln!(
        "fuzz {target}: seed {seed}, this input failed and is kept as {}:\n{}",
        file.display(),
        input.escape_ascii()
    );
}

#[test]
fn an_input_that_fails_is_kept() {
    let mut fuzz = Fuzz::with("self", &["x"], vec![b"good".to_vec()]);
    let failed = catch_unwind(AssertUnwindSafe(|| fuzz.run(|input, _| assert_eq!(input, b"good"))));
    let files: Vec<_> = std::fs::read_dir(folder("self")).unwrap().map(|file| file.unwrap().path()).collect();
    let kept: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    std::fs::remove_dir_all(folder("self")).unwrap();
    assert!(failed.is_err() && kept.len() == 1 && kept[0] != b"good", "{kept:?}");
}
