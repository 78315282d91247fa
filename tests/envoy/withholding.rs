//! Row A3 of faults.md, and what else holds while a member was never read (xds.md 3.15).
//!
//! A directory is read at once, so the control plane that starts while a member is away is made
//! here of the engine and the ADS server.

use std::{path::Path, sync::Arc};

use convoy::{
    engine::{Engine, Settings},
    key::{MemberId, Scope},
    serve::Source,
    settings::{GatewayDefaults, Mechanisms, Timings},
    snapshot::Publisher,
    source::directory,
    store::{Change, Health},
    xds::{Access, AdsServer, EnvoyRegistry, EnvoyStatus, Listener, XdsListen},
};
use tokio::task::JoinHandle;

use crate::{
    bed::{
        Bed,
        client::get,
        guide::{GATEWAY_NAME, WEB_DEMO},
        ingress::ingress,
        load::Plan,
        netns::CONTROL_PLANE,
        poll::{SETTLE, eventually},
    },
    rows::{BOTH, figure, rows},
};

rows! { BOTH;
    fault_a03_a_member_that_is_away_when_convoy_starts,
}

const C1: &str = "cluster-demo-1";
const C2: &str = "cluster-demo-2";

/// A control plane that reads the directory when it is told to.
struct Convoy {
    engine: Engine,
    publisher: Arc<Publisher>,
    envoys: Arc<EnvoyRegistry>,
    server: JoinHandle<()>,
}

impl Convoy {
    async fn start() -> Convoy {
        let (publisher, envoys) = <(Arc<Publisher>, Arc<EnvoyRegistry>)>::default();
        let (mechanisms, timings) = (Mechanisms::ALL, Timings::PRODUCTION);
        let ads = AdsServer::new(publisher.clone(), envoys.clone(), &mechanisms, &timings);
        let listener = Listener::bind(&XdsListen::Tcp(CONTROL_PLANE)).await.unwrap();
        let serve =
            async { ads.serve(listener, Access::Open, std::future::pending()).await.unwrap() };
        let settings =
            Settings { mechanisms, defaults: GatewayDefaults::default(), api_server: None };
        Convoy { engine: Engine::new(settings), publisher, envoys, server: tokio::spawn(serve) }
    }

    fn tick(&mut self, changes: impl IntoIterator<Item = Change>) {
        for (id, view) in self.engine.tick(changes).views {
            self.publisher.publish(&id, view);
        }
    }

    /// Reads everything but what is in the member.
    fn read_without(&mut self, dir: &Path, member: &MemberId) {
        let scope = Scope::Member(member.clone());
        let is_read = |change: &Change| match change {
            Change::Upsert(at, _)
            | Change::Delete(at, ..)
            | Change::Replace(at, ..)
            | Change::Listed(at)
            | Change::Synced(at) => *at != scope,
            Change::Register(..)
            | Change::Unregister(_)
            | Change::Health(..)
            | Change::Report { .. } => true,
        };
        let changes = directory::load(dir).unwrap().into_iter().filter(is_read);
        self.tick(changes.collect::<Vec<_>>());
    }

    /// Waits for two Envoys of which the second is as expected.
    async fn envoys(&self, what: &str, second: impl Fn(&EnvoyStatus) -> bool) {
        eventually(SETTLE, what, || async {
            let envoys = self.envoys.envoys();
            let found = envoys.iter().any(|e| e.node_id == "second" && second(e));
            if found && envoys.len() == 2 { Ok(()) } else { Err(format!("{envoys:#?}")) }
        })
        .await;
    }
}

impl Drop for Convoy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The first Envoy has state, the second is fresh.
async fn fault_a03_a_member_that_is_away_when_convoy_starts(bed: &mut Bed) {
    let Source::Directory(root) = bed.fleet.source() else { panic!("these rows have a directory") };
    bed.deploy_service1(&[("c1", 2), ("c2", 1)]);
    bed.fleet.apply("web-demo", WEB_DEMO);
    bed.start_guide().await;
    let both = [(C1, 66.7), (C2, 33.3)];
    bed.shares(300, &get("/svc1"), &both, 2.0).await;
    let load = bed.load(&Plan {
        name: "load",
        request: get("/svc1"),
        gets_per_second: 100,
        posts_per_second: 0,
    });

    bed.stop_convoy().await;
    let (mut second, fresh) = bed.start_second_envoy(GATEWAY_NAME);
    let c2 = MemberId::new("c2").unwrap();
    let mut convoy = Convoy::start().await;
    convoy.read_without(&root, &c2);
    convoy.envoys("the fresh Envoy waits", |envoy| envoy.is_waiting).await;
    let split = fresh.hit(1, &get("/svc1")).await.codes();
    assert!(!split.only("200") && !split.only("404"), "{split:?}");

    let message = String::new();
    convoy.tick([Change::Health(
        Scope::Member(c2.clone()),
        Health::Stale { reason: "SyncTimeout", message },
    )]);
    bed.settle_over(&fresh, 100, &get("/svc1"), |replies| replies.envs().only(C1)).await;
    bed.shares(300, &get("/svc1"), &both, 2.0).await;

    // Routes flow, also those to a Service that the Envoy with state never heard of.
    bed.ingress(&ingress("more").exact("/more", "service1"));
    bed.deploy_each(&["other"]);
    bed.ingress(&ingress("other").exact("/other", "other"));
    convoy.read_without(&root, &c2);
    bed.shares(300, &get("/more"), &both, 2.0).await;
    bed.all(4, &get("/other"), "other").await;
    bed.settle_over(&fresh, 100, &get("/more"), |replies| replies.envs().only(C1)).await;

    convoy.tick(directory::load(&root).unwrap());
    bed.settle_over(&fresh, 300, &get("/svc1"), |replies| replies.envs().shares(&both, 2.0)).await;
    bed.shares(300, &get("/svc1"), &both, 2.0).await;
    convoy.envoys("nothing is withheld", |envoy| !envoy.is_waiting).await;
    let withheld =
        |envoy: &EnvoyStatus| envoy.types.values().map(|own| own.withheld).sum::<usize>();
    assert_eq!(convoy.envoys.envoys().iter().map(withheld).sum::<usize>(), 0);
    let report = load.stop().await;
    figure(&report.figures());
    assert_eq!(report.lost(), 0, "{:?}", report.failures());
    second.kill();
}
