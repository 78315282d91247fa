//! Removals, reconnecting clients and sizes: xds.md 3.8 and 3.9.

use crate::xds::{
    request::Variant::{Delta, Sotw},
    session::tests::script::check,
};

// 3.8: removals

#[test]
fn a_listener_is_removed_at_once() {
    check(
        Delta,
        "commit +lds:a +lds:b
         sub lds                -> lds +a +b
         ack lds
         commit -lds:a          -> lds -a",
    );
    check(
        Sotw,
        "commit +lds:a +lds:b
         list lds               -> lds a b
         ack lds
         commit -lds:a          -> lds b
         ack lds
         commit -lds:b          -> lds",
    );
}

#[test]
fn endpoints_routes_and_secrets_are_never_removed() {
    for kind in ["eds", "rds", "sds"] {
        check(
            Delta,
            &format!(
                "commit +{kind}:a
                 sub {kind} a           -> {kind} +a
                 ack {kind}
                 commit -{kind}:a
                 commit +{kind}:a
                 commit +{kind}:a@2     -> {kind} +a@2"
            ),
        );
        check(
            Sotw,
            &format!(
                "commit +{kind}:a +{kind}:b
                 list {kind} a b        -> {kind} a b
                 ack {kind}
                 commit -{kind}:a
                 commit +{kind}:b@2     -> {kind} b@2"
            ),
        );
    }
}

// 3.9: reconnecting

#[test]
fn what_a_reconnecting_client_holds_is_not_sent_again() {
    check(
        Delta,
        "commit +cds:a +cds:b +eds:a +eds:b +lds:l +rds:r
         sub cds ^a ^b
         sub eds a b ^a ^b
         sub lds ^l
         sub rds r ^r
         commit +eds:b@2        -> eds +b@2",
    );
}

#[test]
fn fault_d2_only_the_differences_are_sent_after_a_reconnect() {
    check(
        Delta,
        "commit +cds:a@2 +cds:b +cds:c(sds:s) +eds:a +eds:b@2 +lds:l +rds:r@2
         sub cds ^a ^b ^gone    -> cds +a@2 +c
         sub eds a b old ^a ^b ^old -> eds +a +b@2 -old
         ack cds
         ack eds
         sub lds ^l ^m
         sub rds r ^r
         wait 2000              -> lds -m; rds +r@2
         ack lds
         ack rds                -> cds -gone",
    );
}

#[test]
fn a_version_that_was_never_ours_is_replaced() {
    check(
        Delta,
        "commit +cds:a
         sub cds ^a@9           -> cds +a",
    );
}

#[test]
fn only_the_first_request_of_a_type_is_believed() {
    check(
        Delta,
        "commit +eds:a
         sub eds a ^a
         sub eds a              -> eds +a",
    );
}

#[test]
fn fault_d11_a_stream_that_died_before_the_routes_resumes_with_them() {
    check(
        Delta,
        "commit +cds:new +eds:new +lds:l +rds:r@2
         sub cds ^new ^old
         sub eds new ^new
         sub lds ^l
         sub rds r ^r           -> rds +r@2
         ack rds                -> cds -old",
    );
}

// Sizes

#[test]
fn a_response_carries_a_thousand_resources_at_most() {
    let commit = |n: u32| -> String { (0..n).map(|i| format!(" +eds:e{i:04}")).collect() };
    let names =
        |from: u32, to: u32| -> String { (from..to).map(|i| format!(" +e{i:04}")).collect() };
    let all: String = (0..1_500).map(|i| format!(" e{i:04}")).collect();
    check(
        Delta,
        &format!(
            "commit{}
             sub eds{all}   -> eds{}
             ack eds        -> eds{}
             ack eds",
            commit(1_500),
            names(0, 1_000),
            names(1_000, 1_500),
        ),
    );
}
