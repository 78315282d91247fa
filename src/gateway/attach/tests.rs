use super::*;
use crate::model::Preference;

fn gateway(name: &str, class_rule: ClassRule, watch: Option<&str>) -> Gateway {
    Gateway {
        id: GatewayId::mse(name),
        members: Vec::new().into(),
        preference: Preference::default(),
        listen_address: std::net::Ipv4Addr::UNSPECIFIED.into(),
        listeners: [].into(),
        envoys: None,
        ready_port: 19003,
        access_log: false,
        tracing: None,
        class_rule,
        watch_namespace: watch.map(Into::into),
    }
}

fn ingress(annotation: Option<&str>, class: Option<&str>) -> Ingress {
    Ingress {
        name: ObjectName::new("a", "i"),
        uid: "".into(),
        created: 0,
        annotations: annotation
            .map(|class| (CLASS_ANNOTATION.into(), class.into()))
            .into_iter()
            .collect(),
        class: class.map(Into::into),
        default_backend: None,
        rules: Vec::new(),
        tls: Vec::new(),
    }
}

/// A class of ours: its name, the gateway it is bound to, and whether it is the default.
fn class(name: &str, gateway: Option<&str>, is_default: bool) -> IngressClass {
    IngressClass {
        name: ObjectName::cluster_scoped(name),
        controller: "mse.alibabacloud.com/ingress".into(),
        parameters: gateway.map(|gateway| ClassParameters {
            api_group: "mse.alibabacloud.com".into(),
            kind: "MseIngressConfig".into(),
            name: gateway.into(),
        }),
        is_default,
    }
}

fn exactly(class: &str) -> ClassRule {
    ClassRule::Exactly(class.into())
}

#[test]
fn class_rules_by_string() {
    let none = Classes::default();
    for (rule, annotation, field, expect) in [
        (ClassRule::None, None, None, false),
        (ClassRule::None, None, Some("mse"), false),
        (ClassRule::Every, None, None, true),
        (ClassRule::Every, None, Some("any"), true),
        (ClassRule::NginxOrNone, None, None, true),
        (ClassRule::NginxOrNone, None, Some("nginx"), true),
        (ClassRule::NginxOrNone, None, Some("mse"), false),
        (exactly("mse"), None, None, false),
        (exactly("mse"), None, Some("mse"), true),
        (exactly("mse"), None, Some("MSE"), false),
        (exactly("mse"), Some("mse"), None, true),
        (exactly("mse"), Some("mse"), Some("nginx"), true),
        (exactly("mse"), Some("nginx"), Some("mse"), false),
        (exactly("mse"), Some(""), Some("mse"), true),
    ] {
        let served =
            attaches(&gateway("x", rule.clone(), None), &ingress(annotation, field), &none);
        assert_eq!(served, expect, "{rule:?} {annotation:?} {field:?}");
    }
}

#[test]
fn a_bound_class_belongs_to_its_gateway_alone() {
    let classes = Classes::new(&[class("foo", Some("x"), false)]);
    let foo = ingress(None, Some("foo"));
    for (name, rule, expect) in [
        ("x", exactly("mse"), true),
        ("x", ClassRule::None, true),
        ("y", ClassRule::Every, false),
        ("y", exactly("foo"), false),
    ] {
        assert_eq!(
            attaches(&gateway(name, rule.clone(), None), &foo, &classes),
            expect,
            "{rule:?}"
        );
    }
    let mse = ingress(None, Some("mse"));
    assert!(attaches(&gateway("x", exactly("mse"), None), &mse, &classes), "the field still works");
}

#[test]
fn only_our_controller_and_kind_bind() {
    let foreign =
        IngressClass { controller: "k8s.io/ingress-nginx".into(), ..class("foo", Some("y"), true) };
    let mut other_kind = class("foo", Some("y"), false);
    other_kind.parameters.as_mut().unwrap().kind = "AlbConfig".into();
    for unbound in [foreign, other_kind, class("foo", None, false)] {
        let classes = Classes::new([&unbound]);
        let x = gateway("x", exactly("foo"), None);
        assert!(attaches(&x, &ingress(None, Some("foo")), &classes), "{unbound:?}");
        assert!(!attaches(&x, &ingress(None, None), &classes), "{unbound:?}");
    }
}

#[test]
fn each_controller_binds_gateways_of_its_kind() {
    let alb = |controller: &str, group: &str, kind: &str| {
        let mut class = class("alb", Some("x"), false);
        class.controller = controller.into();
        let parameters = class.parameters.as_mut().unwrap();
        (parameters.api_group, parameters.kind) = (group.into(), kind.into());
        class
    };
    let (own, other) = (GatewayId::alb("x"), GatewayId::mse("x"));
    let named = ingress(None, Some("alb"));
    for (class, expect) in [
        (alb("ingress.k8s.alibabacloud/alb", "alibabacloud.com", "AlbConfig"), true),
        (alb("ingress.k8s.alibabacloud/alb", "alibabacloud.com", "MseIngressConfig"), false),
        (alb("ingress.k8s.alibabacloud/alb", "mse.alibabacloud.com", "AlbConfig"), false),
        (alb("mse.alibabacloud.com/ingress", "alibabacloud.com", "AlbConfig"), false),
    ] {
        let classes = Classes::new([&class]);
        let serves = |id: &GatewayId| {
            let gateway = Gateway { id: id.clone(), ..gateway("x", ClassRule::None, None) };
            attaches(&gateway, &named, &classes)
        };
        assert_eq!((serves(&own), serves(&other)), (expect, false), "{class:?}");
    }
}

#[test]
fn a_single_default_class_is_the_class_of_those_without() {
    let x = gateway("x", exactly("mse"), None);
    let plain = ingress(None, None);
    for (classes, expect) in [
        (vec![class("mse", None, true)], true),
        (vec![class("foo", Some("x"), true)], true),
        (vec![class("foo", Some("y"), true)], false),
        (vec![class("mse", None, true), class("foo", None, true)], false),
        (vec![class("mse", None, false)], false),
    ] {
        assert_eq!(attaches(&x, &plain, &Classes::new(&classes)), expect, "{classes:?}");
    }
}

#[test]
fn only_the_watched_namespace_is_served() {
    let mse = ingress(None, Some("mse"));
    for (watch, expect) in [(None, true), (Some("a"), true), (Some("b"), false)] {
        let x = gateway("x", exactly("mse"), watch);
        assert_eq!(attaches(&x, &mse, &Classes::default()), expect, "{watch:?}");
    }
}
