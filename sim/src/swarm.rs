//! Swarm: each seed draws which faults and freedoms it has at all, and how often.
//!
//! With everything on at once, faults get into each other's way: a spurious event hides the wake-up that a
//! delay has lost, a shortage of descriptors ends what a reset was to meet. Leaving half of them out, each
//! time another half, reaches states that no single mixture does (Groce et al., "Swarm Testing", ISSTA
//! 2012).

use rand_chacha::ChaCha8Rng;

use crate::choice::{ChoiceKind, below, stream};
use crate::faults::{FaultKind, Faults};

/// Numbers of the random streams of a seed: 0 and 1 are in `choice.rs`.
const FAULTS_STREAM: u64 = 2;
const BIAS_STREAM: u64 = 3;

/// How often a fault strikes that is on, in per cent of twice its rate under chaos.
const RATES: [u32; 4] = [2, 10, 50, 100];

/// The faults of a seed: of those that chaos has, each one is on or off, rare or frequent.
pub(crate) fn faults(seed: u64) -> Faults {
    let mut rng = stream(seed, FAULTS_STREAM);
    let chaos = Faults::chaos();
    FaultKind::ALL.into_iter().fold(Faults::none(), |faults, kind| {
        // Drawn for every kind, so that what one kind gets does not depend on the others.
        let (on, rate) = (below(&mut rng, 2) == 1, RATES[below(&mut rng, 4) as usize]);
        let most = u32::from(chaos.per_mille(kind)) * 2;
        match on && most > 0 {
            true => faults.with(kind, (most * rate / 100).clamp(1, 1000) as u16),
            false => faults,
        }
    })
}

/// How often each freedom is taken, out of [`Bias::ONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bias {
    taken: [u8; ChoiceKind::FREEDOMS.len()],
}

impl Bias {
    /// Always.
    pub(crate) const ONE: u32 = 8;

    /// Every freedom half of the time.
    pub(crate) fn even() -> Bias {
        Bias { taken: [Bias::ONE as u8 / 2; ChoiceKind::FREEDOMS.len()] }
    }

    /// The freedoms of a seed: each one is off, rare, frequent, or nearly always taken.
    pub(crate) fn swarm(seed: u64) -> Bias {
        let mut rng = stream(seed, BIAS_STREAM);
        Bias { taken: [(); ChoiceKind::FREEDOMS.len()].map(|()| draw(&mut rng)) }
    }

    /// Whether this freedom is taken now, `draw` being a random number below [`Bias::ONE`].
    pub(crate) fn takes(&self, kind: ChoiceKind, draw: u32) -> bool {
        // What is no freedom has no bias.
        let taken = self.taken.get(kind.index()).copied().unwrap_or(Bias::ONE as u8);
        draw < u32::from(taken)
    }
}

fn draw(rng: &mut ChaCha8Rng) -> u8 {
    [0, 1, 4, 7][below(rng, 4) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_chaos_is_on_for_some_seeds_and_off_for_others_at_several_rates() {
        for kind in FaultKind::ALL {
            let mut rates: Vec<u16> = (0..200).map(|seed| faults(seed).per_mille(kind)).collect();
            let on = rates.iter().filter(|&&rate| rate > 0).count();
            rates.sort_unstable();
            rates.dedup();
            match Faults::chaos().per_mille(kind) {
                0 => assert_eq!(rates, [0], "{}", kind.name()),
                _ => assert!((60..140).contains(&on) && rates.len() > 3, "{}", kind.name()),
            }
        }
    }

    #[test]
    fn every_freedom_is_off_for_some_seeds_and_all_are_independent() {
        let seeds: Vec<Bias> = (0..200).map(Bias::swarm).collect();
        for (index, kind) in ChoiceKind::FREEDOMS.into_iter().enumerate() {
            let off = seeds.iter().filter(|bias| bias.taken[index] == 0).count();
            assert!((25..80).contains(&off), "{} is off for {off} seeds", kind.name());
        }
        let same = seeds.iter().filter(|bias| bias.taken[1] == bias.taken[2]).count();
        assert!((25..80).contains(&same), "two freedoms agree for {same} seeds");
    }
}
