//! Every golden fleet on an Envoy that runs: it acknowledges all of it and refuses nothing.
//!
//! `tests/golden` judges the same fleets as static configuration; what only a stream can show is
//! judged here.

use std::collections::BTreeMap;

use convoy::{
    key::GatewayId,
    serve::{self, Handle, Source, XdsSecurity},
    settings::{GatewayDefaults, Mechanisms, Timings},
    snapshot::{GatewayView, Kind},
};

use crate::{
    bed::{
        Bed,
        convoy::Convoy,
        poll::{SETTLE, eventually},
    },
    rows::{BOTH, figure, rows},
};

#[path = "../golden/cases.rs"]
mod cases;

rows! { BOTH;
    golden_fleets_are_accepted,
}

async fn golden_fleets_are_accepted(bed: &mut Bed) {
    let (mut n_gateways, mut n_resources) = (0, 0);
    for case in cases::all() {
        let expected = serve::translate(&case.dir, &GatewayDefaults::default()).unwrap().views;
        let convoy = Convoy::start(
            Source::Directory(case.dir.clone()),
            XdsSecurity::Plaintext,
            Mechanisms::ALL,
            Timings::PRODUCTION,
        )
        .await;
        for (gateway, view) in &expected {
            let what = format!("{}, {gateway}", case.name);
            bed.start_envoy(&gateway.to_string()).await;
            all_is_acknowledged(convoy.handle(), gateway, view, &what).await;
            nothing_is_refused(bed, &what).await;
            assert!(same(&convoy.handle().views()[gateway], view), "{what}: served otherwise");
            n_gateways += 1;
            n_resources += sizes(view).values().sum::<usize>();
        }
        bed.envoy = None;
        convoy.stop().await;
    }
    figure(&format!("{n_gateways} gateways and {n_resources} resources accepted"));
}

/// The Envoy has everything that the fleet translates to, and has never refused anything.
async fn all_is_acknowledged(convoy: &Handle, gateway: &GatewayId, view: &GatewayView, what: &str) {
    eventually(SETTLE, what, || async {
        let envoys = convoy.envoys().envoys();
        let ours = envoys.iter().find(|envoy| envoy.gateway == gateway.to_string());
        let types = ours.map(|envoy| envoy.types.clone()).unwrap_or_default();
        assert!(types.values().all(|status| status.refusals == 0), "{what}: {types:?}");
        let acknowledged = types.iter().map(|(kind, status)| (*kind, status.acknowledged));
        let acknowledged: BTreeMap<_, _> = acknowledged.filter(|(_, n)| *n > 0).collect();
        if acknowledged == sizes(view) { Ok(()) } else { Err(format!("{types:?}")) }
    })
    .await;
}

/// How many resources there are of each kind that has any.
fn sizes(view: &GatewayView) -> BTreeMap<Kind, usize> {
    let sizes = Kind::ALL.into_iter().map(|kind| (kind, view.table(kind).len()));
    sizes.filter(|(_, n)| *n > 0).collect()
}

/// Whether two views have the same resources; versions are hashes of content.
fn same(ours: &GatewayView, theirs: &GatewayView) -> bool {
    let all = |view: &GatewayView| -> Vec<_> {
        let tables = Kind::ALL.into_iter().flat_map(|kind| view.table(kind).iter());
        tables.map(|resource| (resource.kind, resource.name.clone(), resource.version)).collect()
    };
    all(ours) == all(theirs)
}

async fn nothing_is_refused(bed: &Bed, what: &str) {
    let envoy = bed.envoy();
    assert_eq!(envoy.stat(".*update_rejected").await, 0, "{what}");
    for kind in ["listener_manager.lds", "cluster_manager.cds", "http.*rds.*"] {
        assert!(envoy.stat(&format!("{kind}.update_success")).await > 0, "{what}: {kind}");
    }
}
