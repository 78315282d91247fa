use super::*;

fn verdict(text: &str) -> String {
    match Regex::new(text) {
        Ok(regex) => regex.as_str().into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_refusal_says_why() {
    let cases = [
        ("a+", "a+"),
        ("", "it is empty"),
        ("*.foo", "repetition operator missing expression at byte 0"),
        ("a(?=b)", "look-around, including look-ahead and look-behind, is not supported at byte 1"),
        (r"(a)\1", "backreferences are not supported at byte 3"),
        ("a**", "a repetition of a repetition needs parentheses"),
        ("a{1001}", "a repetition may not exceed 1000"),
        ("(a{100}){100}", "its program has size 20409 and may have 1000"),
        (r"\pL", "classes of Unicode are not served; only ASCII is matched"),
    ];
    for (text, expected) in cases {
        assert_eq!(verdict(text), expected, "{text}");
    }
}

#[test]
fn fault_f02_the_longest_expression() {
    let longest = "a?".repeat(300);
    assert!(Regex::new(&longest).is_ok());
    let long = "a".repeat(MAX_SOURCE + 1);
    assert_eq!(verdict(&long), "it has 4097 bytes and may have 4096");
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Regex::new(&nested(40)).is_ok());
    assert!(Regex::new(&nested(1000)).is_err());
}
