//! Every case, in CPU time of the thread: what else runs on the machine takes turns, not time.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustix::time::{ClockId, Timespec, clock_gettime};

struct CpuTime;

fn now() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(tv_sec).unwrap_or_default(), u32::try_from(tv_nsec).unwrap_or_default())
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        now()
    }

    fn end(&self, start: Duration) -> Duration {
        now().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn micro(criterion: &mut Criterion<CpuTime>) {
    for case in tidings_micro::all() {
        let (station, what) = case.name.split_once('/').unwrap_or((&case.name, "all"));
        let mut group = criterion.benchmark_group(station);
        group.throughput(Throughput::Elements(case.units));
        group.bench_function(what, |bencher| {
            let mut work = (case.make)().expect("the case can be prepared");
            bencher.iter(&mut work);
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots();
    targets = micro
}

criterion_main!(benches);
