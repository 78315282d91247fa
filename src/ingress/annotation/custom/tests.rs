use super::*;
use crate::{
    ingress::{annotation::with_alb, fixture::show_condition},
    model::{HeaderEdit, NewPath},
};

/// The conditions as text, or what is wrong with them.
fn conditions(text: &str) -> String {
    let Conditions { hosts, paths, when } = match conditions::parse(text) {
        Ok(read) => read,
        Err(problem) => return format!("! {problem}"),
    };
    let hosts = hosts.iter().map(|host| format!("host {host}"));
    let paths = paths.iter().map(|path| format!("path {:?}", path.matcher));
    let when =
        when.iter().map(|all| all.iter().map(show_condition).collect::<Vec<_>>().join(" and "));
    let when = when.filter(|text| !text.is_empty());
    hosts.chain(paths).chain(when).collect::<Vec<_>>().join("; ")
}

#[test]
fn conditions_as_the_vendor_writes_them() {
    for (text, expect) in [
        (
            r#"[{"type":"Header","headerConfig":{"key":"X-Gray","values":["b","a","a"]}}]"#,
            "header x-gray=a|b",
        ),
        (r#"[{"Type":"Method","MethodConfig":{"Values":["GET"]}}]"#, "header :method=GET"),
        (
            r#"[{"type":"SourceIp","sourceIpConfig":{"values":["10.0.0.0/8","1.2.3.4"]}}]"#,
            "client 1.2.3.4/32|10.0.0.0/8",
        ),
        (
            r#"[{"type":"QueryString","queryStringConfig":{"values":[
                {"key":"a","value":"1"},{"key":"a","value":"2"},{"key":"b","value":"3"}]}}]"#,
            "query a=1|2; query b=3",
        ),
        (
            r#"[{"type":"Cookie","cookieConfig":{"values":[{"key":"a","value":"1"},{"key":"b","value":"2"}]}},
               {"type":"Method","methodConfig":{"values":["GET","PUT"]}}]"#,
            "cookie a=1 and header :method=GET|PUT; cookie b=2 and header :method=GET|PUT",
        ),
        (
            r#"[{"type":"Host","hostConfig":{"values":["A.com","*.b.com"]}},
               {"type":"Path","pathConfig":{"values":["/a/*"]}}]"#,
            r#"host a.com; host *.b.com; path Regex(Regex("/a/.*"))"#,
        ),
        (
            r#"[{"type":"Path","pathConfig":{"values":["~*/a/(.*)"]}}]"#,
            r#"path Regex(Regex("(?i)(?:/a/(.*)).*"))"#,
        ),
    ] {
        assert_eq!(conditions(text), expect, "{text}");
    }
}

#[test]
fn conditions_that_are_not_served_name_what_is_wrong() {
    for (text, expect) in [
        ("", "not a list in JSON"),
        ("{}", "not a list in JSON"),
        ("[]", "a list of 0 elements"),
        ("[1]", "[0] is not an object"),
        (r#"[{"type":"Header"}]"#, "[0].HeaderConfig is missing"),
        (r#"[{"headerConfig":{}}]"#, "[0].type is missing"),
        (r#"[{"type":"Header","headerConfig":[]}]"#, "[0].HeaderConfig is not an object"),
        (
            r#"[{"type":"Header","headerConfig":{"key":"a","values":["b"],"not":true}}]"#,
            r#""[0].HeaderConfig.not" is not served"#,
        ),
        (
            r#"[{"type":"Method","methodConfig":{"values":["GET"]},"negate":true}]"#,
            r#""[0].negate" is not served"#,
        ),
        (
            r#"[{"type":"Method","methodConfig":{"values":["GET"],"Values":["PUT"]}}]"#,
            "[0].MethodConfig has a key twice",
        ),
        (r#"[{"type":"Method","methodConfig":{"values":[]}}]"#, "values is empty"),
        (r#"[{"type":"Method","methodConfig":{"values":"GET"}}]"#, "values is not a list"),
        (r#"[{"type":"Method","methodConfig":{"values":["get"]}}]"#, "\"get\" is none of"),
        (r#"[{"type":"Header","headerConfig":{"key":"Host","values":["a"]}}]"#, "name of a header"),
        (r#"[{"type":"Header","headerConfig":{"key":"a b","values":["a"]}}]"#, "name of a header"),
        (r#"[{"type":"Header","headerConfig":{"key":"a","values":["a*"]}}]"#, "patterns"),
        (r#"[{"type":"Header","headerConfig":{"key":"a","values":["\n"]}}]"#, "value of a header"),
        (r#"[{"type":"Host","hostConfig":{"values":["a*.com"]}}]"#, "is not a host"),
        (r#"[{"type":"Path","pathConfig":{"values":["a"]}}]"#, "does not begin with"),
        (r#"[{"type":"Path","pathConfig":{"values":["~*/("]}}]"#, "is refused"),
        (r#"[{"type":"SourceIp","sourceIpConfig":{"values":["fd00::/8"]}}]"#, "IPv4"),
        (r#"[{"type":"SourceIp","sourceIpConfig":{"values":["10.0.0.0/33"]}}]"#, "IPv4"),
        (r#"[{"type":"ResponseHeader","responseHeaderConfig":{}}]"#, "\"ResponseHeader\""),
        (r#"[{"type":"header","headerConfig":{}}]"#, "\"header\" are not served"),
        (
            r#"[{"type":"Cookie","cookieConfig":{"values":[{"key":"a;","value":"1"}]}}]"#,
            "name of a cookie",
        ),
    ] {
        let said = conditions(text);
        assert!(said.starts_with("! ") && said.contains(expect), "{text}: {said}");
    }
}

#[test]
fn fault_s19_alternatives_are_bounded() {
    let cookies = |n: usize| {
        let pair = |idx| format!(r#"{{"key":"c{idx}","value":"1"}}"#);
        let pairs: Vec<_> = (0..n).map(pair).collect();
        format!(r#"{{"type":"Cookie","cookieConfig":{{"values":[{}]}}}}"#, pairs.join(","))
    };
    let list = |parts: &[String]| format!("[{}]", parts.join(","));
    assert_eq!(conditions(&list(&[cookies(4), cookies(8)])).split("; ").count(), 32);
    for text in [
        list(&[cookies(6), cookies(6)]),
        list(&vec![cookies(20); 20]),
        list(&[cookies(21)]),
        list(&vec![cookies(1); 21]),
        format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!(
            r#"[{{"type":"Header","headerConfig":{{"key":"a","values":["{}"]}}}}]"#,
            "x".repeat(4097)
        ),
    ] {
        assert!(conditions(&text).starts_with("! "), "{}", value::quote(&text));
    }
}

fn action(kind: &str, config: &str) -> Result<Actions, String> {
    actions::parse(&format!(r#"[{{"type":"{kind}","{kind}Config":{config}}}]"#))
}

#[test]
fn redirects() {
    let path = |config: &str| match action("Redirect", config).unwrap().last {
        Some(Final::Redirect(redirect)) => redirect.path,
        other => panic!("{other:?}"),
    };
    let fixed = |path: &str, query: Option<&str>| NewPath::Fixed {
        path: path.into(),
        query: query.map(Into::into),
    };
    let around =
        |before: &str, after: &str| NewPath::Around { before: before.into(), after: after.into() };
    for (config, expect) in [
        (r#"{"host":"a.com","path":"${path}","query":"${query}"}"#, NewPath::Same),
        (r#"{"host":"a.com"}"#, NewPath::Same),
        (r#"{"path":"/a"}"#, fixed("/a", None)),
        (r#"{"path":"/a","query":"x=1"}"#, fixed("/a", Some("x=1"))),
        (r#"{"path":"/v2${path}"}"#, around("/v2", "")),
        (r#"{"path":"${path}/end"}"#, around("", "/end")),
    ] {
        assert_eq!(path(config), expect, "{config}");
    }
    for config in [
        "{}",
        r#"{"host":"${host}","port":"${port}","protocol":"${protocol}"}"#,
        r#"{"host":"www.${host}"}"#,
        r#"{"host":"*.a.com"}"#,
        r#"{"host":"a.com","port":"0"}"#,
        r#"{"host":"a.com","protocol":"FTP"}"#,
        r#"{"host":"a.com","httpCode":"304"}"#,
        r#"{"host":"a.com","query":"x=1"}"#,
        r#"{"path":"a"}"#,
        r#"{"path":"/a?b"}"#,
        r#"{"path":"/${host}"}"#,
        r#"{"path":"${path}${path}"}"#,
        r#"{"path":"x${path}"}"#,
        r#"{"path":"/a","query":"${query}&a=1"}"#,
        r#"{"path":"/v2${path}","query":"a=1"}"#,
        r#"{"path":"/a b"}"#,
        r#"{"path":"/a\r\nx: y"}"#,
        r#"{"host":"a.com","fragment":"x"}"#,
    ] {
        assert!(action("Redirect", config).is_err(), "{config}");
    }
}

#[test]
fn answers_groups_and_headers() {
    let long =
        format!(r#"{{"contentType":"a/b","httpCode":"200","content":"{}"}}"#, "x".repeat(4097));
    for (kind, config, is_served) in [
        ("FixedResponse", r#"{"contentType":"text/plain","httpCode":"418","content":"tea"}"#, true),
        ("FixedResponse", r#"{"contentType":"text/plain","httpCode":503}"#, true),
        ("FixedResponse", r#"{"httpCode":"200","content":"x"}"#, false),
        ("FixedResponse", r#"{"contentType":"text/plain","httpCode":"302"}"#, false),
        ("FixedResponse", r#"{"contentType":"text/plain","httpCode":"99"}"#, false),
        ("FixedResponse", r#"{"contentType":"text/plain\r\nx: y","httpCode":"200"}"#, false),
        ("FixedResponse", &long, false),
        (
            "ForwardGroup",
            r#"{"ServerGroups":[{"ServiceName":"a","ServicePort":80,"Weight":0}]}"#,
            false,
        ),
        ("ForwardGroup", r#"{"ServerGroups":[{"ServiceName":"a","ServicePort":"80"}]}"#, true),
        ("ForwardGroup", r#"{"ServerGroups":[{"ServiceName":"a"}]}"#, false),
        ("ForwardGroup", r#"{"ServerGroups":[{"ServerGroupID":"sgp","ServicePort":80}]}"#, false),
        ("ForwardGroup", r#"{"ServerGroups":[]}"#, false),
        (
            "ForwardGroup",
            r#"{"serverGroups":[{"serviceName":"a","servicePort":80}],"ServerGroupStickySession":{"Enabled":true}}"#,
            false,
        ),
        ("InsertHeader", r#"{"key":"x-a","value":"b"}"#, true),
        ("InsertHeader", r#"{"key":"x-a","value":"b","valueType":"ReferenceHeader"}"#, true),
        (
            "InsertHeader",
            r#"{"key":"x-a","value":"ClientSrcIp","valueType":"SystemDefined"}"#,
            false,
        ),
        ("InsertHeader", r#"{"key":"x-a","value":"a%b","valueType":"ReferenceHeader"}"#, false),
        ("InsertHeader", r#"{"key":"x-envoy-max-retries","value":"9"}"#, false),
        ("InsertHeader", r#"{"key":":path","value":"/"}"#, false),
        ("InsertHeader", r#"{"key":"Host","value":"a"}"#, false),
        ("InsertHeader", r#"{"key":"x","value":"a\r\nb: c"}"#, false),
        ("RemoveHeader", r#"{"key":"x-a"}"#, true),
        ("RemoveHeader", r#"{"key":"x-forwarded-for"}"#, false),
        ("TrafficLimit", r#"{"QPS":"10","QPSPerIp":"2"}"#, true),
        ("TrafficLimit", r#"{"QPS":"2","QPSPerIp":"2"}"#, false),
        ("TrafficLimit", r#"{"PerIpQps":"2"}"#, false),
        ("TrafficLimit", "{}", false),
        ("Cors", r#"{"AllowOrigin":["*"],"AllowCredentials":"on","MaxAge":"60"}"#, true),
        ("Cors", r#"{"AllowOrigin":["a.com"]}"#, false),
        ("TrafficMirror", "{}", false),
        ("Rewrite", r#"{"path":"/a"}"#, false),
    ] {
        let read = action(kind, config);
        assert_eq!(read.is_ok(), is_served, "{kind} {config}: {read:?}");
    }
    let groups = r#"[{"type":"ForwardGroup","forwardConfig":{"serverGroups":[
        {"serviceName":"a","servicePort":80,"weight":80},{"serviceName":"b","servicePort":80,"weight":20}]}}]"#;
    match actions::parse(groups).unwrap().last {
        Some(Final::Groups(groups)) => {
            assert!(groups.iter().map(|group| group.weight).eq([80, 20]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn actions_in_order_and_one_at_the_end() {
    let limit = r#"{"type":"TrafficLimit","TrafficLimitConfig":{"QPS":"5"}}"#;
    let insert = r#"{"type":"InsertHeader","InsertHeaderConfig":{"key":"X-A","value":"b"}}"#;
    let remove = r#"{"type":"RemoveHeader","RemoveHeaderConfig":{"key":"x-a"}}"#;
    let end = r#"{"type":"Redirect","RedirectConfig":{"host":"a.com"}}"#;
    let read = actions::parse(&format!("[{limit},{insert},{end}]")).unwrap();
    assert!(read.filters.limit.is_some() && read.last.is_some());
    assert!(
        matches!(&read.filters.headers[..], [HeaderEdit::Insert { name, .. }] if **name == *"x-a")
    );
    let read = actions::parse(&format!("[{insert},{remove}]")).unwrap();
    assert_eq!(read.filters.headers, [HeaderEdit::Remove("x-a".into())]);
    assert!(actions::parse(&format!("[{end},{end}]")).unwrap_err().contains("several"));
    let cors = r#"{"type":"Cors","CorsConfig":{}}"#;
    assert!(actions::parse(&format!("[{cors},{limit}]")).is_ok());
    assert!(actions::parse(&format!("[{cors},{end}]")).unwrap_err().contains("forwarded"));
}

#[test]
fn fault_f15_refused_conditions_take_the_rules_away_and_refused_actions_deny() {
    let good = r#"[{"type":"Method","methodConfig":{"values":["GET"]}}]"#;
    let limit = r#"[{"type":"TrafficLimit","TrafficLimitConfig":{"QPS":"5"}}]"#;
    for (pairs, expect, n_diags) in [
        (&[("conditions.a", good)][..], "served", 0),
        (&[("conditions.a", good), ("rule-direction.a", "Request")], "served", 0),
        (&[("conditions.a", good), ("rule-direction.a", "Response")], "denied", 1),
        (&[("conditions.a", good), ("actions.a", "x")], "denied", 1),
        (&[("conditions.a", "x"), ("actions.a", "x")], "left out", 2),
        (&[("actions.a", limit)], "served", 1),
    ] {
        let (all, diags) = with_alb(pairs, |it, diags| parse(it, &Role::Main, diags));
        let found = match &all["a"].0 {
            Some(own) if own.is_denied => "denied",
            Some(_) => "served",
            None => "left out",
        };
        assert_eq!((found, diags.len()), (expect, n_diags), "{diags:?}");
    }
    let canary = Role::Canary(crate::ingress::Canary::Inactive);
    let (all, diags) = with_alb(&[("conditions.a", good)], |it, diags| parse(it, &canary, diags));
    assert_eq!((all["a"].0.is_some(), diags.len()), (false, 1));
}
