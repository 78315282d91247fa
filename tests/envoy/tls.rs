//! Rows 117 to 121 and 124: certificates from Secrets of the fleet.

use crate::{
    bed::{
        Bed,
        cert::Authority,
        client::get,
        fleet::tls_secret,
        ingress::ingress,
        poll::{SETTLE, eventually},
    },
    rows::{BOTH, rows},
};

rows! { BOTH;
    row_117_certificate_by_server_name,
    row_118_certificate_rotated,
    row_119_secret_missing_then_created,
    row_120_plaintext_beside_tls,
    row_121_ssl_redirect,
    row_124_no_server_name,
    a_host_without_tls_is_not_served_by_its_wildcard,
}

async fn row_117_certificate_by_server_name(bed: &mut Bed) {
    let authority = Authority::new();
    bed.deploy_each(&["a", "b"]);
    for (host, service) in [("a.com", "a"), ("b.com", "b")] {
        bed.fleet.object(service, &tls_secret(service, &authority.leaf(&[host])));
        bed.ingress(&ingress(service).host(host).prefix("/", service).tls(&[host], service));
    }
    bed.start_guide().await;
    // The client accepts no certificate but one for the name it asked for.
    for (host, service) in [("a.com", "a"), ("b.com", "b")] {
        bed.check_over(&bed.https(&authority, host), &[(get("/").host(host), service)]).await;
    }
}

async fn row_118_certificate_rotated(bed: &mut Bed) {
    let authority = Authority::new();
    let (old, new) = (authority.leaf(&["a.com"]), authority.leaf(&["a.com"]));
    bed.deploy_each(&["a"]);
    bed.fleet.object("cert", &tls_secret("cert", &old));
    bed.ingress(&ingress("a").host("a.com").prefix("/", "a").tls(&["a.com"], "cert"));
    bed.start_guide().await;
    let (client, request) = (bed.https(&authority, "a.com"), get("/").host("a.com"));
    bed.check_over(&client, &[(request.clone(), "a")]).await;
    let mut long_lived = client.connect().await.unwrap();
    assert_eq!(long_lived.certificate, old.der);
    bed.fleet.object("cert", &tls_secret("cert", &new));
    eventually(SETTLE, "the new certificate is served", || async {
        let served = client.connect().await?.certificate;
        if served == new.der { Ok(()) } else { Err("the old one".to_owned()) }
    })
    .await;
    assert!(long_lived.send(&request).await.unwrap().status.is_success());
}

async fn row_119_secret_missing_then_created(bed: &mut Bed) {
    let authority = Authority::new();
    bed.deploy_each(&["a", "b"]);
    bed.fleet.object("b", &tls_secret("b", &authority.leaf(&["b.com"])));
    for (host, service) in [("a.com", "a"), ("b.com", "b")] {
        bed.ingress(&ingress(service).host(host).prefix("/", service).tls(&[host], service));
    }
    bed.start_guide().await;
    let (missing, other) = (bed.https(&authority, "a.com"), bed.https(&authority, "b.com"));
    bed.check_over(&other, &[(get("/").host("b.com"), "b")]).await;
    let refused = missing.send(&get("/").host("a.com")).await;
    assert!(refused.is_err(), "{refused:?}");
    bed.check(&[(get("/").host("a.com"), "a")]).await;
    bed.reports("Ingress gateway-demo/a", convoy::diag::Reason::SecretNotFound).await;
    bed.fleet.object("a", &tls_secret("a", &authority.leaf(&["a.com"])));
    bed.check_over(&missing, &[(get("/").host("a.com"), "a")]).await;
    bed.check_over(&other, &[(get("/").host("b.com"), "b")]).await;
}

async fn row_120_plaintext_beside_tls(bed: &mut Bed) {
    let authority = Authority::new();
    bed.deploy_each(&["a"]);
    bed.fleet.object("cert", &tls_secret("cert", &authority.leaf(&["a.com"])));
    bed.ingress(&ingress("a").host("a.com").prefix("/", "a").tls(&["a.com"], "cert"));
    bed.start_guide().await;
    bed.check_over(&bed.https(&authority, "a.com"), &[(get("/").host("a.com"), "a")]).await;
    bed.check(&[(get("/").host("a.com"), "a")]).await;
}

async fn row_121_ssl_redirect(bed: &mut Bed) {
    let authority = Authority::new();
    bed.deploy_each(&["a"]);
    bed.fleet.object("cert", &tls_secret("cert", &authority.leaf(&["a.com"])));
    let redirected = ingress("a").annotate("nginx.ingress.kubernetes.io/ssl-redirect", "true");
    bed.ingress(&redirected.host("a.com").prefix("/", "a").tls(&["a.com"], "cert"));
    bed.start_guide().await;
    let request = get("/x?q=1").host("a.com");
    bed.check(&[(request.clone(), "308")]).await;
    let reply = bed.http().send(&request).await.unwrap();
    assert_eq!(reply.header("location"), "https://a.com/x?q=1");
    bed.check_over(&bed.https(&authority, "a.com"), &[(request, "a")]).await;
}

async fn row_124_no_server_name(bed: &mut Bed) {
    let authority = Authority::new();
    bed.deploy_each(&["a", "b"]);
    // A client that sends no server name verifies the address.
    let leaf = authority.leaf(&["a.com", "b.com", "10.0.0.1"]);
    bed.fleet.object("cert", &tls_secret("cert", &leaf));
    let both = ingress("both").host("a.com").prefix("/", "a").host("b.com").prefix("/", "b");
    bed.ingress(&both.tls(&[], "cert"));
    bed.start_guide().await;
    let nameless = bed.https(&authority, "10.0.0.1");
    bed.check_over(
        &nameless,
        &[
            (get("/").host("a.com"), "a"),
            (get("/").host("b.com"), "b"),
            (get("/").host("c.com"), "404"),
        ],
    )
    .await;
    assert_eq!(nameless.connect().await.unwrap().certificate, leaf.der);
}

async fn a_host_without_tls_is_not_served_by_its_wildcard(bed: &mut Bed) {
    let authority = Authority::new();
    bed.deploy_each(&["wild", "exact"]);
    bed.fleet.object("cert", &tls_secret("cert", &authority.leaf(&["*.foo.com"])));
    bed.ingress(&ingress("wild").host("*.foo.com").prefix("/", "wild").tls(&["*.foo.com"], "cert"));
    bed.ingress(&ingress("exact").host("a.foo.com").prefix("/", "exact"));
    bed.start_guide().await;
    bed.check(&[(get("/").host("a.foo.com"), "exact"), (get("/").host("b.foo.com"), "wild")]).await;
    let tls = bed.https(&authority, "a.foo.com");
    bed.check_over(
        &tls,
        &[(get("/").host("a.foo.com"), "404"), (get("/").host("b.foo.com"), "wild")],
    )
    .await;
}
