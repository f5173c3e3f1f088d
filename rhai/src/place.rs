//! Where an operator failed. Rhai 1.26 evaluates operators on its own types without going through its
//! function calls (a third to a half of a script's time is saved by it), and forgets the position of an
//! error in doing so. Told are the operator and its values, so the text is searched for it: a place is
//! given only if no other can be meant.

/// A token's text, line and column from 1.
struct Token<'a> {
    text: &'a str,
    line: usize,
    column: usize,
}

const OPERATOR: &str = "+-*/%<>=!&|^~";

impl Token<'_> {
    fn is_operator(&self) -> bool {
        self.text.starts_with(|letter| OPERATOR.contains(letter))
    }

    fn ends_value(&self) -> bool {
        self.text.ends_with(|letter: char| {
            letter.is_alphanumeric() || matches!(letter, '_' | ')' | ']' | '}' | '"')
        })
    }

    /// What a literal is worth, as Rhai shows it in a message.
    fn literal(&self) -> Option<String> {
        if !self.text.starts_with(|letter: char| letter.is_ascii_digit()) {
            return None;
        }
        let digits = self.text.replace('_', "");
        Some(digits.parse::<i64>().map_or(digits, |number| number.to_string()))
    }
}

/// Tokens of a text, comments left out; None where strings hold code or are of rarer forms.
fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let (mut line, mut start) = (1, 0);
    let mut rest = text;
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let until = |end: Option<usize>| end.unwrap_or(rest.len());
        let (length, kept) = if first.is_whitespace() {
            (first.len_utf8(), false)
        } else if rest.starts_with("//") {
            (until(rest.find('\n')), false)
        } else if rest.starts_with("/*") {
            (comment(rest), false)
        } else if first == '`' || rest.starts_with("#\"") || rest.starts_with("##") {
            return None;
        } else if first == '"' || first == '\'' {
            (quoted(rest, first), true)
        } else if word(first) {
            let number = first.is_ascii_digit();
            let end = rest.char_indices().find(|(index, letter)| {
                let fraction =
                    number && *letter == '.' && rest[index + 1..].starts_with(|it: char| it.is_ascii_digit());
                !word(*letter) && !fraction
            });
            (until(end.map(|(index, _)| index)), true)
        } else if OPERATOR.contains(first) {
            let end = rest.find(|letter| !OPERATOR.contains(letter));
            // A sign is no part of the operator before it.
            let run = &rest[..until(end)];
            (
                if run.len() > 1 && run.ends_with(['-', '!']) && run != "--" {
                    run.len() - 1
                } else {
                    run.len()
                },
                true,
            )
        } else {
            (first.len_utf8(), true)
        };
        let piece = &rest[..length];
        if kept {
            tokens.push(Token { text: piece, line, column: text[start..at].chars().count() + 1 });
        }
        if let Some(last) = piece.rfind('\n') {
            line += piece.matches('\n').count();
            start = at + last + 1;
        }
        rest = &rest[length..];
    }
    Some(tokens)
}

/// Bytes of a comment, which may hold others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..(at + 2).min(text.len())] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// Bytes of a string or character with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, letter) in text.char_indices().skip(1) {
        if !escaped && letter == quote {
            return index + 1;
        }
        escaped = !escaped && letter == '\\';
    }
    text.len()
}

/// Which tokens belong to the functions of that name; all of them for a closure.
fn range_of(tokens: &[Token<'_>], function: Option<&str>) -> Vec<bool> {
    if function == Some("closure") {
        return vec![true; tokens.len()];
    }
    let mut inside = vec![function.is_none(); tokens.len()];
    let mut at = 0;
    while at + 1 < tokens.len() {
        if tokens[at].text != "fn" {
            at += 1;
            continue;
        }
        let named = function == Some(tokens[at + 1].text);
        let Some(open) = (at..tokens.len()).find(|index| tokens[*index].text == "{") else { break };
        let mut depth = 0;
        let close = (open..tokens.len()).find(|index| {
            depth += i32::from(tokens[*index].text == "{") - i32::from(tokens[*index].text == "}");
            depth == 0
        });
        let close = close.unwrap_or(tokens.len() - 1);
        inside[at..=close].fill(named);
        at = close + 1;
    }
    inside
}

/// Line and column of the operator that `message` tells of ("Division by zero: 1 / 0") in the named
/// function, or outside of functions; None if more than one place could be meant.
pub fn operator(text: &str, function: Option<&str>, message: &str) -> Option<(usize, usize)> {
    let mut parts = message.split_once(": ")?.1.split(' ');
    let (left, operator, right) = (parts.next()?, parts.next()?, parts.next()?);
    let tokens = tokens(text)?;
    let inside = range_of(&tokens, function);
    let possible = |index: &usize| {
        let at = *index;
        if at == 0 || !inside[at] || tokens[at].text != operator || !tokens[at - 1].ends_value() {
            return false;
        }
        let alone =
            |neighbour: Option<&Token>| neighbour.is_none_or(|it| !it.is_operator() && it.text != ".");
        let before = at.checked_sub(2).and_then(|index| tokens.get(index));
        if alone(before) && tokens[at - 1].literal().is_some_and(|value| value != left) {
            return false;
        }
        let after = tokens.get(at + 1).and_then(Token::literal);
        !(alone(tokens.get(at + 2)) && after.is_some_and(|value| value != right))
    };
    let mut found = (0..tokens.len()).filter(possible);
    let place = &tokens[found.next()?];
    found.next().is_none().then_some((place.line, place.column))
}

#[cfg(test)]
mod tests {
    use super::operator;

    const ZERO: &str = "Division by zero: 1 / 0";

    #[test]
    fn the_only_place_is_told() {
        assert_eq!(operator("let x = 1;\n// a / b\n\tx / \"/\".len", None, ZERO), Some((3, 4)));
        assert_eq!(operator("fn f(a) { a / 0 }\nfn g(a) {\n a / 2 }", Some("g"), ZERO), None);
        assert_eq!(operator("fn f(a) { a / 0 }\nf(1 / 1)", Some("f"), ZERO), Some((1, 13)));
        assert_eq!(operator("/* a / /* b */ */ a /-b", None, ZERO), Some((1, 21)));
    }

    #[test]
    fn values_that_differ_rule_a_place_out() {
        assert_eq!(operator("x / 2 ; 2 / y; x / y", None, ZERO), Some((1, 18)));
    }

    #[test]
    fn two_places_are_none() {
        assert_eq!(operator("a / b; c / d", None, ZERO), None);
        assert_eq!(operator("`${a / b}`", None, ZERO), None);
    }
}
