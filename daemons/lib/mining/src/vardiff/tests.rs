use super::*;

/// SplitMix64: a seed gives the same run on every machine.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// Log-uniform in [1 / factor, factor].
    fn factor(&mut self, factor: f64) -> f64 {
        factor.powf(2.0 * self.unit() - 1.0)
    }

    fn exponential(&mut self, rate: f64) -> f64 {
        -(1.0 - self.unit()).max(1e-12).ln() / rate
    }
}

const RATE: f64 = 18.0;
/// From a new target to a miner that works on it.
const LATENCY_MS: u64 = 300;
const NOMINAL: f64 = 1e14;

/// One miner, and the pool's vardiff of his channel.
struct Simulation {
    random: Random,
    vardiff: Vardiff,
    hashrate: f64,
    now_ms: u64,
    /// What the miner works on, and what he will work on from when.
    job: Target,
    next_job: Option<(u64, Target)>,
    shares: u32,
    changes: u32,
}

impl Simulation {
    fn new(seed: u64, factor: impl FnOnce(&mut Random) -> f64) -> Self {
        Self::with_bounds(
            seed,
            Bounds::new(Target::MAX, Target::from_difficulty(1e15)),
            factor,
        )
    }

    fn with_bounds(seed: u64, bounds: Bounds, factor: impl FnOnce(&mut Random) -> f64) -> Self {
        let mut random = Random(seed);
        let hashrate = NOMINAL * factor(&mut random);
        let start = Target::from_hashrate(NOMINAL, RATE);
        let vardiff = Vardiff::new(bounds, 18.0, start, 0);
        let job = vardiff.target();
        Self {
            random,
            vardiff,
            hashrate,
            now_ms: 0,
            job,
            next_job: None,
            shares: 0,
            changes: 0,
        }
    }

    /// As [`Self::new`], in powers of two of difficulty.
    fn in_powers_of_two(seed: u64, factor: impl FnOnce(&mut Random) -> f64) -> Self {
        let power = |log2: f64| Target::from_difficulty(log2.exp2());
        let start = power(
            Target::from_hashrate(NOMINAL, RATE)
                .difficulty()
                .log2()
                .round(),
        );
        let bounds = Bounds::new(power(-32.0), power(80.0));
        let vardiff = Vardiff::in_powers_of_two(bounds, 18.0, start, 0);
        Self {
            job: start,
            vardiff,
            ..Self::new(seed, factor)
        }
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    fn second(&mut self) {
        let end = self.now_ms + 1000;
        while self.now_ms < end {
            let until = self.next_job.map_or(end, |(at, _)| at.min(end));
            self.mine(until - self.now_ms);
            self.now_ms = until;
            if let Some((_, target)) = self.next_job.take_if(|(at, _)| *at == until) {
                self.job = target;
            }
        }
        if let Some(target) = self.vardiff.tick(self.now_ms) {
            assert_eq!(target, self.vardiff.target());
            self.changes += 1;
            self.next_job = Some((self.now_ms + LATENCY_MS, target));
        }
    }

    fn mine(&mut self, ms: u64) {
        if self.hashrate == 0.0 {
            return;
        }
        let rate = self.hashrate / self.job.expected_hashes() / 1000.0;
        let mut at = self.random.exponential(rate);
        while at < ms as f64 {
            self.vardiff.on_share(self.job);
            self.shares += 1;
            at += self.random.exponential(rate);
        }
    }

    /// By how much the target is too hard.
    fn off(&self) -> f64 {
        self.vardiff.target().hashrate(RATE) / self.hashrate
    }

    fn within(&self, factor: f64) -> bool {
        (factor.recip()..=factor).contains(&self.off())
    }
}

fn many(count: u64, factor: impl Fn(&mut Random) -> f64) -> Vec<Simulation> {
    (0..count)
        .map(|seed| Simulation::new(seed, &factor))
        .collect()
}

/// The share of simulations whose target is within a factor of 2 of the wanted one.
fn converged(simulations: &[Simulation]) -> f64 {
    simulations
        .iter()
        .filter(|simulation| simulation.within(2.0))
        .count() as f64
        / simulations.len() as f64
}

#[test]
fn converges_within_a_minute_from_a_claim_that_is_wrong_by_up_to_100() {
    let mut simulations = many(1000, |random| random.factor(100.0));
    simulations
        .iter_mut()
        .for_each(|simulation| simulation.run(60));
    let converged = converged(&simulations);
    assert!(converged >= 0.95, "{converged}");
}

#[test]
fn converges_within_a_minute_from_the_worst_claims() {
    for factor in [0.01, 0.1, 1.0, 10.0, 100.0] {
        let mut simulations = many(500, |_| factor);
        simulations
            .iter_mut()
            .for_each(|simulation| simulation.run(60));
        let converged = converged(&simulations);
        assert!(converged >= 0.93, "{converged} of those at {factor}");
    }
}

#[test]
fn a_claim_far_too_low_floods_the_pool_for_seconds_only() {
    let mut simulations = many(200, |_| 100.0);
    simulations
        .iter_mut()
        .for_each(|simulation| simulation.run(60));
    let shares = simulations
        .iter()
        .map(|simulation| f64::from(simulation.shares))
        .sum::<f64>();
    // 30 a second until the first tick, and what is on its way.
    assert!(shares / 200.0 < 100.0, "{shares}");
}

#[test]
fn a_settled_channel_gets_the_wanted_rate_with_few_changes() {
    let mut simulations = many(200, |random| random.factor(10.0));
    let (mut rates, mut changes) = (Vec::new(), 0);
    for simulation in &mut simulations {
        simulation.run(300);
        let before = (simulation.shares, simulation.changes);
        simulation.run(3600);
        rates.push(f64::from(simulation.shares - before.0) / 60.0);
        changes += simulation.changes - before.1;
    }
    let mean = rates.iter().sum::<f64>() / 200.0;
    assert!(
        (mean / RATE - 1.0).abs() < 0.03,
        "{mean} shares a minute on average"
    );
    let near = rates
        .iter()
        .filter(|rate| (*rate / RATE - 1.0).abs() < 0.1)
        .count();
    assert!(near >= 180, "{near} of 200 within 10%: {rates:?}");
    assert!(changes < 200 * 3, "{changes} changes in 200 hours");
}

#[test]
fn falls_on_silence_to_the_easiest_target_and_rests_there() {
    let bounds = Bounds::new(
        Target::from_difficulty(100.0),
        Target::from_difficulty(1e15),
    );
    for seed in 0..20 {
        let mut simulation = Simulation::with_bounds(seed, bounds, |_| 1.0);
        simulation.run(600);
        let settled = simulation.vardiff.target();
        simulation.hashrate = 0.0;
        simulation.run(60);
        assert!(simulation.vardiff.target().difficulty() < settled.difficulty() / 10.0);
        simulation.run(120);
        assert_eq!(simulation.vardiff.target(), bounds.easiest());
        let changes = simulation.changes;
        simulation.run(100_000);
        assert_eq!(simulation.changes, changes);
        // The miner comes back.
        simulation.hashrate = NOMINAL;
        simulation.run(60);
        assert!(simulation.within(2.5), "{}", simulation.off());
    }
}

#[test]
fn a_miner_that_never_finds_a_share_is_made_easier_within_ten_seconds() {
    let start = Target::from_difficulty(1e6);
    let bounds = Bounds::new(Target::from_difficulty(1.0), Target::from_difficulty(1e9));
    let mut vardiff = Vardiff::new(bounds, 18.0, start, 0);
    let first = (1..=10)
        .find_map(|second| vardiff.tick(second * 1000))
        .unwrap();
    assert!(first > start);
    for second in 11..=120 {
        let _change = vardiff.tick(second * 1000);
    }
    assert_eq!(vardiff.target(), bounds.easiest());
}

#[test]
fn a_hashrate_that_changes_is_followed() {
    for (shift, seconds) in [
        (0.1, 120),
        (0.3, 150),
        (0.5, 400),
        (2.0, 180),
        (5.0, 60),
        (30.0, 60),
    ] {
        let mut simulations = many(100, |_| 1.0);
        for simulation in &mut simulations {
            simulation.run(1800);
            simulation.hashrate *= shift;
            simulation.run(seconds);
        }
        let converged = converged(&simulations);
        assert!(converged >= 0.9, "{converged} after a change to {shift}");
    }
}

#[test]
fn never_leaves_its_bounds() {
    let bounds = Bounds::new(
        Target::from_hashrate(NOMINAL / 2.0, RATE),
        Target::from_hashrate(NOMINAL * 2.0, RATE),
    );
    for (factor, bound) in [(0.01, bounds.easiest()), (100.0, bounds.hardest())] {
        let mut simulation = Simulation::with_bounds(1, bounds, |_| factor);
        for _ in 0..300 {
            simulation.second();
            let target = simulation.vardiff.target();
            assert!(target <= bounds.easiest() && target >= bounds.hardest());
        }
        assert_eq!(simulation.vardiff.target(), bound);
        assert!(simulation.changes < 5);
    }
}

#[test]
fn a_clients_max_target_is_never_exceeded() {
    let difficulty = Target::from_difficulty;
    let bounds = Bounds::new(difficulty(10.0), difficulty(1000.0));
    assert_eq!(bounds.with_max_target(difficulty(1.0)), bounds);
    assert_eq!(
        bounds.with_max_target(difficulty(64.0)).easiest(),
        difficulty(64.0)
    );
    // Harder than the lane allows: the client's wish counts.
    let beyond = bounds.with_max_target(difficulty(5000.0));
    assert_eq!(
        (beyond.easiest(), beyond.hardest()),
        (difficulty(5000.0), difficulty(5000.0))
    );

    let mut vardiff = Vardiff::new(bounds, 18.0, difficulty(1.0), 0);
    assert_eq!(vardiff.target(), difficulty(10.0));
    assert_eq!(vardiff.set_bounds(bounds), None);
    assert_eq!(
        vardiff.set_bounds(bounds.with_max_target(difficulty(64.0))),
        Some(difficulty(64.0))
    );
    assert_eq!(vardiff.set_bounds(beyond), Some(difficulty(5000.0)));
}

#[test]
fn a_miner_whose_target_was_forced_is_followed_at_once() {
    let mut simulation = Simulation::new(5, |_| 1.0);
    simulation.run(1800);
    // A proxy announces 1,000 times the hashrate, and asks for a target to match.
    simulation.hashrate *= 1000.0;
    let asked = Target::from_hashrate(simulation.hashrate / 20.0, RATE);
    let bounds = Bounds::new(asked, Target::from_difficulty(1e15));
    assert_eq!(simulation.vardiff.set_bounds(bounds), Some(asked));
    simulation.job = asked;
    simulation.run(60);
    assert!(simulation.within(2.0), "{}", simulation.off());
}

#[test]
fn targets_of_32_and_above_are_whole_difficulties() {
    let mut simulation = Simulation::new(3, |_| 0.37);
    simulation.run(120);
    let difficulty = simulation.vardiff.target().difficulty();
    assert!(difficulty > 32.0);
    assert_eq!(difficulty.fract(), 0.0);
}

#[test]
fn powers_of_two_are_found_as_fast_and_are_left_alone_where_they_fit() {
    let mut simulations: Vec<Simulation> = (0..300)
        .map(|seed| Simulation::in_powers_of_two(seed, |random| random.factor(100.0)))
        .collect();
    for simulation in &mut simulations {
        simulation.run(120);
    }
    let converged = converged(&simulations);
    assert!(converged >= 0.95, "{converged}");
    let (mut changes, mut off) = (0, 0);
    for simulation in &mut simulations {
        simulation.run(600);
        let before = simulation.changes;
        simulation.run(3600);
        changes += simulation.changes - before;
        off += u32::from(!simulation.within(1.6));
        let log2 = simulation.vardiff.target().difficulty().log2();
        assert_eq!(log2.fract(), 0.0, "{log2}");
    }
    assert!(changes < 300 * 4, "{changes} changes in 300 hours");
    assert!(
        off < 15,
        "{off} of 300 are off by more than is to be left alone"
    );
}

#[test]
fn our_own_stall_is_not_held_against_the_miner() {
    let bounds = Bounds::new(Target::MAX, Target::from_difficulty(1e15));
    let mut vardiff = Vardiff::new(bounds, 18.0, Target::from_difficulty(1e6), 0);
    // At 18 a minute, for a minute.
    for second in 1..=60 {
        if second % 10 < 3 {
            vardiff.on_share(vardiff.target());
        }
        assert_eq!(vardiff.tick(second * 1000), None);
    }
    assert_eq!(vardiff.tick(3_600_000), None);
    // Nor does a clock that goes back matter.
    assert_eq!(vardiff.tick(60_000), None);
}

#[test]
fn a_share_on_an_easier_job_counts_for_as_much_less() {
    let easy = Target::from_difficulty(1e4);
    let bounds = Bounds::new(Target::MAX, Target::from_difficulty(1e15));
    let mut vardiff = Vardiff::new(bounds, 18.0, Target::from_difficulty(1e6), 0);
    vardiff.on_share(easy);
    assert!((vardiff.evidence.found - PRIOR.found - 0.01).abs() < 1e-4);
    vardiff.on_share(Target::from_difficulty(1e8));
    assert!((vardiff.evidence.found - PRIOR.found - 1.01).abs() < 1e-4);
}

#[test]
fn the_state_of_a_channel_is_small() {
    // Three targets, and 40 bytes.
    assert!(size_of::<Vardiff>() <= 136);
}

#[test]
fn another_rate_is_reached_in_seconds_with_what_is_known_of_the_hashrate() {
    for rate in [6.0, 60.0] {
        let mut close = 0;
        for seed in 0..200 {
            let mut simulation = Simulation::new(seed, |random| random.factor(10.0));
            simulation.run(600);
            #[expect(clippy::cast_possible_truncation, reason = "6 or 60")]
            simulation.vardiff.set_shares_per_minute(rate as f32);
            simulation.run(2);
            let off = simulation.vardiff.target().hashrate(rate) / simulation.hashrate;
            close += u32::from((0.7..1.4).contains(&off));
        }
        assert!(close >= 190, "{close} of 200 for {rate} shares a minute");
    }
}
