//! Load on the gateway while something is broken, and what must not change meanwhile.

use std::{collections::BTreeMap, time::Duration};

use super::shard;
use crate::{
    bed::{
        client::get,
        load::{Load, Plan},
    },
    rows::figure,
    scene::Scene,
};

/// Requests a second.
const RATE: u32 = 100;

/// Between [`Trial::begin`] and [`Trial::end`] no request fails.
pub(super) struct Trial {
    load: Load,
    /// Members whose endpoints stay as they are.
    kept: BTreeMap<&'static str, Vec<String>>,
}

impl Trial {
    /// Begins while all is well.
    pub(super) async fn begin(scene: &Scene, kept: &[&'static str]) -> Trial {
        let mut shards = BTreeMap::new();
        for member in kept {
            shards.insert(*member, shard(scene, member).await);
        }
        let plan = Plan {
            name: "load",
            request: get("/svc1"),
            gets_per_second: RATE,
            posts_per_second: 0,
        };
        let trial = Trial { load: scene.bed.load(&plan), kept: shards };
        // Whatever breaks next, breaks under load.
        trial.load.sends(10).await;
        trial
    }

    /// Lets it go on for so long.
    ///
    /// # Panics
    /// If endpoints that were to stay did not.
    pub(super) async fn goes_on(&self, scene: &Scene, time: Duration) {
        let requests = time.as_secs_f64() * f64::from(RATE);
        self.load.sends(requests.ceil() as usize).await;
        for (member, before) in &self.kept {
            assert_eq!(shard(scene, member).await, *before, "endpoints of {member}");
        }
    }

    /// # Panics
    /// If a request failed, or endpoints that were to stay did not.
    pub(super) async fn end(self, scene: &Scene) {
        self.goes_on(scene, Duration::ZERO).await;
        let report = self.load.stop().await;
        figure(&report.figures());
        assert_eq!(report.lost(), 0, "{:?}", report.failures());
    }
}
