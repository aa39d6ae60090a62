//! The members of a JSON object.
//!
//! Every event that somebody may want is split once, and most are rows: flat objects of short values. A parser for all
//! of JSON takes several times as long for those. What is nested is left to it.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// The members of a JSON object, each value as the text that stands in the event.
#[derive(Debug, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    /// Splits a JSON object into its members. Text that holds another kind of value has none.
    pub fn parse(text: &'a str) -> Self {
        let mut members = Vec::with_capacity(8);
        let whole = split(text, |key, value| {
            members.push((key, value));
        });
        if whole.is_none() {
            members.clear();
        }
        Self(members)
    }

    /// Whether a text is a JSON object.
    pub fn are_in(text: &str) -> bool {
        split(text, |_, _| {}).is_some()
    }

    /// The names of the members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// The text of the member `name`; the last one wins, as in PostgreSQL's jsonb.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }
}

/// Calls `member` for each member of an object; nothing if the text is none.
fn split<'a>(text: &'a str, mut member: impl FnMut(Cow<'a, str>, &'a str)) -> Option<()> {
    let mut scan = Scan { text, at: 0 };
    scan.space();
    scan.take(b'{')?;
    scan.space();
    if scan.take(b'}').is_none() {
        loop {
            let key = scan.key()?;
            scan.space();
            scan.take(b':')?;
            scan.space();
            let start = scan.at;
            scan.value()?;
            member(key, text.get(start..scan.at)?);
            scan.space();
            if scan.take(b',').is_none() {
                break;
            }
            scan.space();
        }
        scan.take(b'}')?;
    }
    scan.space();
    (scan.at == text.len()).then_some(())
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn key(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at;
        let escaped = self.string()?;
        if escaped {
            return serde_json::from_str(self.text.get(start..self.at)?).ok().map(Cow::Owned);
        }
        self.text.get(start + 1..self.at - 1).map(Cow::Borrowed)
    }

    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'{' | b'[' => self.nested(),
            _ => None,
        }
    }

    /// Passes a string; whether it has escapes.
    fn string(&mut self) -> Option<bool> {
        self.take(b'"')?;
        let mut escaped = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let kind = self.peek()?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// At least one.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    fn nested(&mut self) -> Option<()> {
        let mut values =
            serde_json::Deserializer::from_str(self.text.get(self.at..)?).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::Members;

    #[test]
    fn members_keep_the_text_of_each_value() {
        let members = Members::parse(r#"{"a":1e400000,"b":"\u0000","a\n":{"c": [1 ]},"d":1,"d":2}"#);
        assert_eq!(members.get("a"), Some("1e400000"));
        assert_eq!(members.get("b"), Some(r#""\u0000""#));
        assert_eq!(members.get("a\n"), Some(r#"{"c": [1 ]}"#));
        assert_eq!(members.get("d"), Some("2"));
        assert_eq!(members.get("x"), None);
        assert_eq!(Members::parse("[1]").get("a"), None);
    }

    /// What a parser for all of JSON makes of it.
    fn expected(text: &str) -> BTreeMap<String, String> {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
        members.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect()
    }

    fn found(text: &str) -> BTreeMap<String, String> {
        let members = Members::parse(text);
        members.names().map(|name| (name.to_owned(), members.get(name).unwrap().to_owned())).collect()
    }

    #[test]
    fn what_is_json_and_what_is_not_is_as_a_parser_has_it() {
        let seeds = [
            r#"{"id":70,"total":-12.50e+3,"note":"a \"b\" \u00e4\ud83d\ude00ä","ok":true,"no":false,"nil":null}"#,
            "\n{ \"a\" :\t[1, {\"b\": [] }] , \"c\\n\":{} ,\"d\": 0.0\r}\n",
            "{}",
            " { } ",
            r#"{"a":0,"a":"","":-0}"#,
            r#"{"a\ud800":1}"#,
            r#"{"a":"\ud800"}"#,
        ];
        let changes: Vec<char> = "\"\\{}[]:,.-+eE0123456789tfnu /\n\u{1}\u{7f}ä".chars().collect();
        let mut tried = 0;
        for seed in seeds {
            let letters: Vec<char> = seed.chars().collect();
            for place in 0..letters.len() {
                let mut cut = letters.clone();
                cut.remove(place);
                let mut texts = vec![cut];
                for change in &changes {
                    let (mut put, mut replaced) = (letters.clone(), letters.clone());
                    put.insert(place, *change);
                    replaced[place] = *change;
                    texts.extend([put, replaced]);
                }
                for text in texts {
                    let text: String = text.into_iter().collect();
                    assert_eq!(found(&text), expected(&text), "{text:?}");
                    tried += 1;
                }
            }
        }
        assert!(tried > 10_000);
    }

    #[test]
    fn nothing_is_too_deep() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(Members::parse(&deep).get("a").map(str::len), Some(10_000));
        assert!(Members::are_in(&deep) && !Members::are_in("[]") && !Members::are_in(&deep[..5_000]));
    }
}
