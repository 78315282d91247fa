//! Pods of both members are reached: ClusterIP everywhere. What an `AlbConfig` does by itself is shown
//! here too.

use crate::{
    bed::{client::get, fleet::NAMESPACE},
    clusters::line::Routes,
    harness::scenario,
    hybrid::{
        self, MEMBERS, all, distribute,
        line::{loses_nothing_when_cut, loses_nothing_when_lossy, loses_nothing_when_slow},
        open, register, shares,
    },
    pods::{answer, ready_addresses},
    rows::balance::{C1, C2},
    scene::Scene,
};

use hybrid::{
    alb::{
        row_167_listener_on_its_port_only, row_168_listener_that_the_gateway_lacks,
        row_179_order_before_path, row_180_fixed_response, row_181_ssl_redirect,
        row_182_header_canary_to_one_member,
    },
    weights::{
        row_169_weights_whatever_the_replicas, row_170_weights_with_half_the_pods,
        row_171_weights_without_the_first, row_172_unnamed_is_last_resort,
        row_173_invalid_weights_are_ignored,
    },
};

scenario! { "hybrid_underlay", MEMBERS, fleet: Divided;
    clusters_of_argo_cd_are_members,
    the_applications_are_distributed,
    the_gateway_serves_every_replica_alike,
    row_167_listener_on_its_port_only,
    row_168_listener_that_the_gateway_lacks,
    row_169_weights_whatever_the_replicas,
    row_170_weights_with_half_the_pods,
    row_171_weights_without_the_first,
    row_172_unnamed_is_last_resort,
    row_173_invalid_weights_are_ignored,
    the_line_is_cut,
    the_line_is_slow,
    the_line_loses_packets,
    row_179_order_before_path,
    row_180_fixed_response,
    row_181_ssl_redirect,
    row_182_header_canary_to_one_member,
}

async fn clusters_of_argo_cd_are_members(scene: &mut Scene) {
    register(scene, Routes::Underlay).await;
}

async fn the_applications_are_distributed(scene: &mut Scene) {
    let applications = distribute(scene, "argocd/appset-underlay.yaml").await;
    let names: Vec<_> = applications.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["c1-web-demo", "c2-web-demo"]);
    for (member, env) in [("c1", C1), ("c2", C2)] {
        let cluster = &scene.world.member(member).cluster;
        let kind = cluster
            .kubectl(&format!("get service service1 -n {NAMESPACE} -ojsonpath={{.spec.type}}"));
        assert_eq!(kind, "ClusterIP");
        let pod = ready_addresses(cluster, "service1", 1).await[0];
        assert_eq!(answer(pod).await.unwrap(), env);
    }
}

async fn the_gateway_serves_every_replica_alike(scene: &mut Scene) {
    open(scene).await;
    shares(scene, &get("/svc1"), [50.0, 50.0]).await;
    hybrid::scale(scene, "c1", 3).await;
    shares(scene, &get("/svc1"), [75.0, 25.0]).await;
    hybrid::scale(scene, "c1", 0).await;
    all(scene, &get("/svc1"), C2).await;
    hybrid::scale(scene, "c1", 1).await;
}

async fn the_line_is_cut(scene: &mut Scene) {
    loses_nothing_when_cut(scene).await;
}

async fn the_line_is_slow(scene: &mut Scene) {
    loses_nothing_when_slow(scene).await;
}

async fn the_line_loses_packets(scene: &mut Scene) {
    loses_nothing_when_lossy(scene).await;
}
