//! Randomness of a run: SplitMix64, one stream per purpose, so that one more draw somewhere shifts nothing elsewhere.

/// A stream of random numbers. The same on every machine and in every build.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a purpose: `seed` is the run's, `purpose` any fixed number.
    pub fn new(seed: u64, purpose: u64) -> Random {
        let mut random = Random(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        // Neighbouring seeds begin far apart.
        random.draw();
        Random(random.draw())
    }
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
    /// 0 to `bound - 1`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64 }
    }
    /// `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }
    /// True so many times in a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len() as u64) as usize).copied()
    }
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
    /// A waiting time around `mean`: between a tenth and about five times of it, short ones more often.
    pub fn around(&mut self, mean: u64) -> u64 {
        let steep = self.below(1000) * self.below(1000) / 1000;
        mean / 10 + mean * steep * 4 / 1000
    }
}

/// The streams of one run.
pub struct Streams {
    pub network: Random,
    pub disk: Random,
    pub clocks: Random,
    pub workload: Random,
    pub order: Random,
    pub setup: Random,
    pub members: Random,
    /// Where machines are, and which version they begin with.
    pub sites: Random,
}

impl Streams {
    pub fn new(seed: u64) -> Streams {
        Streams {
            network: Random::new(seed, 1),
            disk: Random::new(seed, 2),
            clocks: Random::new(seed, 3),
            workload: Random::new(seed, 4),
            order: Random::new(seed, 5),
            setup: Random::new(seed, 6),
            members: Random::new(seed, 8),
            sites: Random::new(seed, 9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_their_bounds_and_streams_differ() {
        let (mut a, mut b) = (Random::new(1, 1), Random::new(1, 2));
        assert_ne!(a.draw(), b.draw());
        for _ in 0..1000 {
            assert!(a.below(7) < 7);
            assert!((3..=5).contains(&a.between(3, 5)));
            assert!(a.around(1000) >= 100 && a.around(1000) <= 4100);
        }
        assert_eq!(a.below(0), 0);
    }
}
