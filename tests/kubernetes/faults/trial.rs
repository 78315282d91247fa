//! Load on the gateway while something is broken, and what must not change meanwhile.

use std::{collections::BTreeMap, time::Duration};

use super::shard;
use crate::{
    bed::{
        client::{Request, get},
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
        Trial::of(scene, get("/svc1"), kept).await
    }

    /// The same with other requests.
    pub(super) async fn of(scene: &Scene, request: Request, kept: &[&'static str]) -> Trial {
        let mut shards = BTreeMap::new();
        for member in kept {
            shards.insert(*member, shard(scene, member).await);
        }
        let plan = Plan { name: "load", request, gets_per_second: RATE, posts_per_second: 0 };
        let trial = Trial { load: scene.bed.load(&plan), kept: shards };
        trial.goes_on(Duration::from_millis(100)).await;
        trial
    }

    /// Lets it go on for so long.
    pub(super) async fn goes_on(&self, time: Duration) {
        let requests = time.as_secs_f64() * f64::from(RATE);
        self.load.sends(requests.ceil() as usize).await;
    }

    /// # Panics
    /// If a request failed, or endpoints that were to stay did not.
    pub(super) async fn end(self, scene: &Scene) {
        for (member, before) in &self.kept {
            assert_eq!(shard(scene, member).await, *before, "endpoints of {member}");
        }
        let report = self.load.stop().await;
        figure(&report.figures());
        assert_eq!(report.lost(), 0, "{:?}", report.failures());
    }
}
