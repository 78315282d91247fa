//! Regular expressions that Envoy's RE2 accepts (faults.md F1, F2, M14, M15).
//!
//! Owns the verdict, which is stricter than RE2's and never laxer: what is accepted here means
//! the same to RE2, and compiles to a program that the bootstrap's limit lets through. One
//! refused expression would cost every host of its table its next change (M3). Cost: linear in
//! the expression, which is at most 4 KiB.

use std::{fmt, sync::Arc};

use regex_syntax::ast::{self, Ast};

/// Longest expression in bytes (faults.md F2).
const MAX_SOURCE: usize = 4 << 10;

/// Largest program, in RE2 instructions as estimated here. RE2's own count is at most that.
const MAX_PROGRAM: usize = 1000;

/// RE2 refuses a larger bound of a repetition.
const MAX_REPEAT: u32 = 1000;

/// RE2 nests up to 1,000; nobody needs more than this, and it bounds our own recursion.
const MAX_NESTING: u32 = 50;

/// Instructions of an empty program: start, end, and what anchors it.
const FRAME: usize = 8;

/// An expression that was checked: what Envoy would refuse cannot be held in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Regex(Arc<str>);

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexError(pub String);

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RegexError {}

impl Regex {
    /// Checks an expression.
    pub fn new(text: &str) -> Result<Regex, RegexError> {
        if text.is_empty() {
            return refuse("it is empty");
        }
        // Envoy compiles expressions byte by byte: `[à-ü]` or `é+` would mean something else.
        if !text.is_ascii() {
            return refuse("only ASCII is matched; in a path other characters are percent-encoded");
        }
        if text.len() > MAX_SOURCE {
            let len = text.len();
            return refuse(format!("it has {len} bytes and may have {MAX_SOURCE}"));
        }
        let program = Regex::program_size(text)?;
        if program > MAX_PROGRAM {
            return refuse(format!("its program has size {program} and may have {MAX_PROGRAM}"));
        }
        Ok(Regex(text.into()))
    }

    /// Upper bound of RE2's program size; the error if RE2 would refuse the syntax or read it
    /// differently.
    pub fn program_size(text: &str) -> Result<usize, RegexError> {
        let mut parser = ast::parse::ParserBuilder::new().nest_limit(MAX_NESTING).build();
        let tree = parser.parse(text).map_err(|err| {
            let at = err.span().start.offset;
            RegexError(format!("{} at byte {at}", err.kind()))
        })?;
        Ok(Walk { folds_case: false }.size(&tree)?.saturating_add(FRAME))
    }

    /// How many groups it has whose text can be used again.
    pub fn n_groups(&self) -> usize {
        let tree = ast::parse::ParserBuilder::new().nest_limit(MAX_NESTING).build().parse(&self.0);
        tree.map_or(0, |tree| groups(&tree))
    }

    /// The expression as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn groups(tree: &Ast) -> usize {
    match tree {
        Ast::Empty(_)
        | Ast::Flags(_)
        | Ast::Literal(_)
        | Ast::Dot(_)
        | Ast::Assertion(_)
        | Ast::ClassUnicode(_)
        | Ast::ClassPerl(_)
        | Ast::ClassBracketed(_) => 0,
        Ast::Repetition(repetition) => groups(&repetition.ast),
        Ast::Group(group) => usize::from(group.capture_index().is_some()) + groups(&group.ast),
        Ast::Alternation(branches) => branches.asts.iter().map(groups).sum(),
        Ast::Concat(parts) => parts.asts.iter().map(groups).sum(),
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, RegexError> {
    Err(RegexError(why.into()))
}

/// Walks in reading order, so that a flag is seen before what it applies to.
struct Walk {
    /// Whether `i` was ever switched on; where it ends does not matter to an upper bound.
    folds_case: bool,
}

impl Walk {
    fn size(&mut self, tree: &Ast) -> Result<usize, RegexError> {
        match tree {
            Ast::Empty(_) => Ok(1),
            Ast::Flags(set) => self.flags(&set.flags).map(|()| 1),
            Ast::Literal(literal) => self.literal(literal),
            // Bytes before the line break, and after it.
            Ast::Dot(_) => Ok(3),
            Ast::Assertion(assertion) => assertion_size(&assertion.kind),
            Ast::ClassUnicode(_) => unicode_class(),
            // `\w` has four ranges, and its negation five.
            Ast::ClassPerl(_) => Ok(5),
            Ast::ClassBracketed(class) => self.bracketed(class),
            Ast::Repetition(repetition) => self.repetition(repetition),
            Ast::Group(group) => self.group(group),
            // An instruction to choose each branch.
            Ast::Alternation(branches) => self.sum(&branches.asts, 1),
            Ast::Concat(parts) => self.sum(&parts.asts, 0),
        }
    }

    fn sum(&mut self, trees: &[Ast], each: usize) -> Result<usize, RegexError> {
        trees.iter().try_fold(0usize, |sum, tree| {
            Ok(sum.saturating_add(self.size(tree)?).saturating_add(each))
        })
    }

    fn flags(&mut self, flags: &ast::Flags) -> Result<(), RegexError> {
        for item in &flags.items {
            match &item.kind {
                ast::FlagsItemKind::Negation => {}
                ast::FlagsItemKind::Flag(flag) => match flag {
                    ast::Flag::CaseInsensitive => self.folds_case = true,
                    ast::Flag::MultiLine | ast::Flag::DotMatchesNewLine | ast::Flag::SwapGreed => {}
                    ast::Flag::Unicode | ast::Flag::CRLF | ast::Flag::IgnoreWhitespace => {
                        return refuse("only the flags i, m, s and U are known");
                    }
                },
            }
        }
        Ok(())
    }

    fn literal(&self, literal: &ast::Literal) -> Result<usize, RegexError> {
        use ast::{HexLiteralKind, LiteralKind};
        match &literal.kind {
            LiteralKind::HexFixed(HexLiteralKind::X) | LiteralKind::HexBrace(HexLiteralKind::X)
                if literal.c.is_ascii() => {}
            LiteralKind::HexFixed(_) | LiteralKind::HexBrace(_) | LiteralKind::Octal => {
                return refuse("characters by number are written \\x41 or \\x{41}, up to \\x7F");
            }
            LiteralKind::Verbatim
            | LiteralKind::Meta
            | LiteralKind::Superfluous
            | LiteralKind::Special(_) => {}
        }
        Ok(if self.folds_case { 2 } else { 1 })
    }

    fn bracketed(&mut self, class: &ast::ClassBracketed) -> Result<usize, RegexError> {
        let items = match &class.kind {
            ast::ClassSet::Item(item) => self.class_item(item)?,
            ast::ClassSet::BinaryOp(_) => {
                return refuse("`&&`, `--` and `~~` in a class are not operators; escape them");
            }
        };
        // Between n ranges and around them are n + 1.
        Ok(items.saturating_add(1))
    }

    fn class_item(&self, item: &ast::ClassSetItem) -> Result<usize, RegexError> {
        use ast::ClassSetItem;
        match item {
            ClassSetItem::Empty(_) => Ok(1),
            ClassSetItem::Literal(literal) => self.literal(literal),
            ClassSetItem::Range(range) => {
                self.literal(&range.start)?;
                self.literal(&range.end)?;
                // With case folded, the range itself and what it has of either case.
                Ok(if self.folds_case { 4 } else { 1 })
            }
            ClassSetItem::Ascii(_) => Ok(if self.folds_case { 10 } else { 5 }),
            ClassSetItem::Perl(_) => Ok(5),
            ClassSetItem::Unicode(_) => unicode_class(),
            ClassSetItem::Bracketed(_) => refuse("`[` in a class is written `\\[`"),
            ClassSetItem::Union(union) => union
                .items
                .iter()
                .try_fold(0usize, |sum, item| Ok(sum.saturating_add(self.class_item(item)?))),
        }
    }

    fn repetition(&mut self, repetition: &ast::Repetition) -> Result<usize, RegexError> {
        use ast::{RepetitionKind, RepetitionRange};
        if matches!(*repetition.ast, Ast::Repetition(_)) {
            return refuse("a repetition of a repetition needs parentheses");
        }
        let once = self.size(&repetition.ast)?.saturating_add(1);
        let (copies, bound) = match &repetition.op.kind {
            RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore => (1, 1),
            RepetitionKind::OneOrMore => (2, 1),
            RepetitionKind::Range(RepetitionRange::Exactly(n)) => (*n, *n),
            RepetitionKind::Range(RepetitionRange::AtLeast(n)) => (n.saturating_add(1), *n),
            RepetitionKind::Range(RepetitionRange::Bounded(_, m)) => (*m, *m),
        };
        if bound > MAX_REPEAT {
            return refuse(format!("a repetition may not exceed {MAX_REPEAT}"));
        }
        let copies = usize::try_from(copies.max(1)).unwrap_or(usize::MAX);
        Ok(once.saturating_mul(copies).saturating_add(1))
    }

    fn group(&mut self, group: &ast::Group) -> Result<usize, RegexError> {
        match &group.kind {
            ast::GroupKind::CaptureIndex(_) => {}
            ast::GroupKind::CaptureName { name, .. } => {
                if !name.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                    return refuse("a group's name has letters, digits and `_`");
                }
            }
            ast::GroupKind::NonCapturing(flags) => self.flags(flags)?,
        }
        // A capture marks its begin and its end.
        Ok(self.size(&group.ast)?.saturating_add(2))
    }
}

fn assertion_size(kind: &ast::AssertionKind) -> Result<usize, RegexError> {
    use ast::AssertionKind;
    match kind {
        AssertionKind::StartLine
        | AssertionKind::EndLine
        | AssertionKind::StartText
        | AssertionKind::EndText
        | AssertionKind::WordBoundary
        | AssertionKind::NotWordBoundary => Ok(2),
        AssertionKind::WordBoundaryStart
        | AssertionKind::WordBoundaryEnd
        | AssertionKind::WordBoundaryStartAngle
        | AssertionKind::WordBoundaryEndAngle
        | AssertionKind::WordBoundaryStartHalf
        | AssertionKind::WordBoundaryEndHalf => refuse("of word boundaries only \\b and \\B exist"),
    }
}

/// Paths are percent-encoded; such a class would only cost a program of hundreds of instructions,
/// and names of classes differ between engines.
fn unicode_class<T>() -> Result<T, RegexError> {
    refuse("classes of Unicode are not served; only ASCII is matched")
}

#[cfg(test)]
mod tests;
