//! The manifests of the zone disaster recovery guide, as routes.

use crate::ingress::fixture::check;

#[test]
fn active_active_with_a_canary_of_one_cluster() {
    check(
        "gateway-demo/web-demo @1
           rule example.com exact /svc1 service1
         gateway-demo/web-demo-canary-1 @2
           canary: true
           canary-by-header: canary-dest
           canary-by-header-value: cluster1
           rule example.com exact /svc1 service1-canary-1",
        "example.com",
        "exact /svc1 [header canary-dest=cluster1|always] -> \
         gateway-demo/service1-canary-1 > gateway-demo/service1
         exact /svc1 -> gateway-demo/service1",
    );
}

#[test]
fn primary_and_secondary_with_a_canary_by_cluster() {
    check(
        "gateway-demo/web-demo-cluster-one @1
           service-subset: cluster-demo-1
           subset-labels: topology.istio.io/cluster c1\\n
           rule example.com exact /service1 service1
         gateway-demo/web-demo-cluster-gray @2
           service-subset: cluster-demo-2
           subset-labels: topology.istio.io/cluster c2\\n
           canary: true
           canary-by-header: app-web-demo-version
           canary-by-header-value: gray
           rule example.com exact /service1 service1",
        "example.com",
        "exact /service1 [header app-web-demo-version=gray|always] -> \
         gateway-demo/service1@c2 > gateway-demo/service1 > gateway-demo/service1@c1
         exact /service1 -> gateway-demo/service1@c1 > gateway-demo/service1",
    );
}
