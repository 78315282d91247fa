//! Rows 169 to 173: shares of members that an Ingress gives, whatever their replicas.

use crate::{
    bed::client::get,
    hybrid::{all, ingress, reports, scale, settle, shares},
    rows::balance::{C1, C2},
    scene::Scene,
};

/// The example's: 80 and 20.
const PATH: &str = "/weights";

pub(super) async fn row_169_weights_whatever_the_replicas(scene: &mut Scene) {
    scale(scene, "c1", 1).await;
    scale(scene, "c2", 9).await;
    shares(scene, &get(PATH), [80.0, 20.0]).await;
    shares(scene, &get("/svc1"), [10.0, 90.0]).await;
}

pub(super) async fn row_170_weights_with_half_the_pods(scene: &mut Scene) {
    scale(scene, "c1", 2).await;
    settle(scene, 100, &get(PATH), |replies| replies.pods().0.len() == 11).await;
    scale(scene, "c1", 1).await;
    settle(scene, 100, &get(PATH), |replies| replies.pods().0.len() == 10).await;
    shares(scene, &get(PATH), [80.0, 20.0]).await;
}

pub(super) async fn row_171_weights_without_the_first(scene: &mut Scene) {
    scale(scene, "c1", 0).await;
    all(scene, &get(PATH), C2).await;
    scale(scene, "c1", 1).await;
    shares(scene, &get(PATH), [80.0, 20.0]).await;
}

pub(super) async fn row_172_unnamed_is_last_resort(scene: &mut Scene) {
    scene.bed.ingress(&ingress("one", &[("cluster-weight.c1", "100")]).exact("/one", "service1"));
    all(scene, &get("/one"), C1).await;
    scale(scene, "c1", 0).await;
    all(scene, &get("/one"), C2).await;
    scale(scene, "c1", 1).await;
    all(scene, &get("/one"), C1).await;
}

pub(super) async fn row_173_invalid_weights_are_ignored(scene: &mut Scene) {
    scale(scene, "c2", 1).await;
    for (name, c1, c2) in [("word", "x", "20"), ("negative", "-1", "20"), ("zero", "0", "0")] {
        let weights = [("cluster-weight.c1", c1), ("cluster-weight.c2", c2)];
        let path = format!("/{name}");
        scene.bed.ingress(&ingress(name, &weights).exact(&path, "service1"));
        reports(scene, name, "InvalidAnnotation").await;
        shares(scene, &get(&path), [50.0, 50.0]).await;
    }
}
