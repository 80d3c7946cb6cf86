//! From text to tokens.

use crate::ast::CompareOp;
use crate::parse::ParseErrorKind;
use crate::span::Span;

/// One word or sign of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A name as it stands, or a word that means something in some places only.
    Word(String),
    /// A name in backticks.
    Name(String),
    Keyword(Keyword),
    /// A literal in quotes.
    Text(String),
    /// A whole number without its sign.
    Integer(u64),
    /// A number with a fraction or an exponent, without its sign.
    Double(f64),
    Op(CompareOp),
    Minus,
    Comma,
    Dot,
    /// Begins the name of a parameter.
    Dollar,
    /// Begins a parameter in braces.
    OpenParameter,
    /// Stands before the default of a parameter.
    Otherwise,
    CloseParameter,
    Open,
    Close,
    /// Begins and ends a list.
    OpenList,
    CloseList,
    End,
}

/// A word that is no name of a property, unless in backticks.
///
/// ANY, NONE, ALL, COUNT and BETWEEN are none of these: they mean something only where a name cannot stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    And,
    Or,
    Not,
    In,
    InNoCase,
    True,
    False,
    Null,
}

const KEYWORDS: [(&str, Keyword); 7] = [
    ("and", Keyword::And),
    ("or", Keyword::Or),
    ("not", Keyword::Not),
    ("in", Keyword::In),
    ("true", Keyword::True),
    ("false", Keyword::False),
    ("null", Keyword::Null),
];

/// All signs; where one begins with another, the longer one stands first.
const SIGNS: [(&str, Token); 27] = [
    ("==~", Token::Op(CompareOp::EqNoCase)),
    ("^=~", Token::Op(CompareOp::StartsWithNoCase)),
    ("*=~", Token::Op(CompareOp::ContainsNoCase)),
    ("$=~", Token::Op(CompareOp::EndsWithNoCase)),
    ("==", Token::Op(CompareOp::Eq)),
    ("!=", Token::Op(CompareOp::Ne)),
    ("<=", Token::Op(CompareOp::Le)),
    (">=", Token::Op(CompareOp::Ge)),
    ("^=", Token::Op(CompareOp::StartsWith)),
    ("*=", Token::Op(CompareOp::Contains)),
    ("$=", Token::Op(CompareOp::EndsWith)),
    ("${", Token::OpenParameter),
    ("$", Token::Dollar),
    ("??", Token::Otherwise),
    ("}", Token::CloseParameter),
    (".", Token::Dot),
    ("&&", Token::Keyword(Keyword::And)),
    ("||", Token::Keyword(Keyword::Or)),
    ("<", Token::Op(CompareOp::Lt)),
    (">", Token::Op(CompareOp::Gt)),
    ("!", Token::Keyword(Keyword::Not)),
    ("-", Token::Minus),
    (",", Token::Comma),
    ("(", Token::Open),
    (")", Token::Close),
    ("[", Token::OpenList),
    ("]", Token::CloseList),
];

/// Signs of other languages, and what to write instead.
const FOREIGN: [(&str, &str); 6] = [
    ("<>", "not equal is written `!=`"),
    ("=", "equality is written `==`"),
    ("&", "write `AND` or `&&`"),
    ("|", "write `OR` or `||`"),
    ("~", "without case, text is compared by `==~`, `^=~`, `*=~`, `$=~` and `IN~`"),
    ("%", "parts of text are found by `^=`, `*=` and `$=`"),
];

pub(crate) fn is_keyword(word: &str) -> bool {
    keyword(word).is_some()
}

fn keyword(word: &str) -> Option<Keyword> {
    KEYWORDS.iter().find(|(keyword, _)| word.eq_ignore_ascii_case(keyword)).map(|&(_, keyword)| keyword)
}

/// Whether the text is a name as it stands: a letter or `_`, then letters, digits and `_`.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(starts_name) && text.chars().all(continues_name)
}

fn starts_name(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn continues_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Reads tokens one by one.
#[derive(Clone)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Lexer { text, at: 0 }
    }

    /// The next token and its place; [`Token::End`] again and again at the end.
    pub(crate) fn next(&mut self) -> Result<(Token, Span), (ParseErrorKind, Span)> {
        self.skip(char::is_whitespace);
        let start = self.at;
        let token = self.token();
        let span = Span { start, end: self.at };
        match token {
            Ok(token) => Ok((token, span)),
            Err(kind) => Err((kind, span)),
        }
    }

    fn token(&mut self) -> Result<Token, ParseErrorKind> {
        let Some(first) = self.peek() else { return Ok(Token::End) };
        if starts_name(first) {
            return Ok(self.word());
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if matches!(first, '"' | '\'' | '`') {
            self.at += 1;
            let text = self.quoted(first)?;
            return Ok(if first == '`' { Token::Name(text) } else { Token::Text(text) });
        }
        let rest = self.rest();
        let sign = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign));
        let foreign = FOREIGN.iter().find(|(sign, _)| rest.starts_with(sign));
        match (sign, foreign) {
            (Some((sign, token)), foreign)
                if foreign.is_none_or(|(foreign, _)| foreign.len() <= sign.len()) =>
            {
                self.at += sign.len();
                Ok(token.clone())
            }
            (_, Some((sign, instead))) => {
                self.at += sign.len();
                Err(ParseErrorKind::Foreign { found: (*sign).to_owned(), instead })
            }
            _ => {
                self.at += first.len_utf8();
                Err(ParseErrorKind::Character { found: first })
            }
        }
    }

    fn word(&mut self) -> Token {
        let word = self.skip(continues_name);
        match keyword(word) {
            Some(Keyword::In) if self.rest().starts_with('~') => {
                self.at += 1;
                Token::Keyword(Keyword::InNoCase)
            }
            Some(keyword) => Token::Keyword(keyword),
            None => Token::Word(word.to_owned()),
        }
    }

    fn number(&mut self) -> Result<Token, ParseErrorKind> {
        let start = self.at;
        let is_digit = |c: char| c.is_ascii_digit();
        self.skip(is_digit);
        let mut is_integer = true;
        if self.rest().strip_prefix('.').is_some_and(|rest| rest.starts_with(is_digit)) {
            is_integer = false;
            self.at += 1;
            self.skip(is_digit);
        }
        if let Some(exponent) = self.rest().strip_prefix(['e', 'E']) {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.starts_with(is_digit) {
                is_integer = false;
                self.at = self.text.len() - digits.len();
                self.skip(is_digit);
            }
        }
        let number = &self.text[start..self.at];
        if !self.skip(continues_name).is_empty() {
            return Err(ParseErrorKind::Number { found: self.text[start..self.at].to_owned() });
        }
        let outside = || ParseErrorKind::NumberRange { found: number.to_owned() };
        if is_integer {
            return number.parse().map(Token::Integer).map_err(|_| outside());
        }
        // Digits, a fraction and an exponent always parse; too large a number comes out as infinite.
        number.parse().ok().filter(|number: &f64| number.is_finite()).map(Token::Double).ok_or_else(outside)
    }

    /// What stands before the closing quote, which is consumed; the opening one already is.
    fn quoted(&mut self, quote: char) -> Result<String, ParseErrorKind> {
        let mut text = String::new();
        loop {
            let plain = self.skip(|c| c != quote && c != '\\');
            text.push_str(plain);
            match self.bump() {
                None => return Err(ParseErrorKind::Unclosed { quote }),
                Some('\\') => text.push(self.escape()?),
                Some(_) => return Ok(text),
            }
        }
    }

    /// The character that an escape stands for; its backslash is consumed.
    fn escape(&mut self) -> Result<char, ParseErrorKind> {
        Ok(match self.bump() {
            Some(c @ ('\\' | '"' | '\'' | '`' | '/')) => c,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let code = self.rest().strip_prefix('{').and_then(|rest| rest.split_once('}'));
                let code = code.map(|(digits, _)| digits).filter(|digits| (1..=6).contains(&digits.len()));
                let is_hex = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let digits = code.filter(is_hex).ok_or(ParseErrorKind::Escape)?;
                let c = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                let c = c.ok_or(ParseErrorKind::Escape)?;
                self.at += digits.len() + "{}".len();
                c
            }
            _ => return Err(ParseErrorKind::Escape),
        })
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip(&mut self, of: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let skipped = &rest[..rest.find(|c| !of(c)).unwrap_or(rest.len())];
        self.at += skipped.len();
        skipped
    }
}
