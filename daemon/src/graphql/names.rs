//! GraphQL names for what PostgreSQL names: stable, so that a client's documents stay valid.
//!
//! The rule, which the documentation repeats: characters other than `A-Z a-z 0-9 _` become `_`; a
//! leading digit gets a `_` before it; leading underscores become one, because `__` is reserved
//! (section 2.1.9); an empty name becomes `_`. Where two names would meet, the one that needed no
//! change keeps it, and the others, in order, get `_2`, `_3` and so on.

use std::collections::HashSet;

/// A legal GraphQL name that is as near to `text` as the rule allows.
pub(super) fn legal(text: &str) -> String {
    let mut name = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        let character = if character.is_ascii_alphanumeric() { character } else { '_' };
        match (name.is_empty(), name == "_", character) {
            (true, _, '0'..='9') => name.push('_'),
            (_, true, '_') => continue,
            _ => {}
        }
        name.push(character);
    }
    if name.is_empty() { "_".to_owned() } else { name }
}

/// A type name for what PostgreSQL calls `text`: its words, each with a capital letter.
pub(super) fn pascal(text: &str) -> String {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    legal(&words.map(capital).collect::<String>())
}

/// `name`, or the first of `name_2`, `name_3`, … for which `free` holds.
pub(super) fn unique(name: &str, free: impl Fn(&str) -> bool) -> String {
    if free(name) {
        return name.to_owned();
    }
    // The names taken are finite, so the search ends. After `_` comes `_2`: `__2` would be reserved.
    (2_u64..).map(|number| legal(&format!("{name}_{number}"))).find(|name| free(name)).unwrap_or_default()
}

/// Field names for columns, in the order of the columns.
pub(super) fn fields<'a>(columns: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let mut taken: HashSet<String> =
        columns.clone().filter(|column| legal(column) == *column).map(str::to_owned).collect();
    columns
        .map(|column| {
            let name = legal(column);
            if name == column {
                return name;
            }
            let name = unique(&name, |candidate| !taken.contains(candidate));
            taken.insert(name.clone());
            name
        })
        .collect()
}

/// A type name with its first letter in lower case: the prefix of its subscription fields.
pub(super) fn prefix(type_name: &str) -> String {
    let mut letters = type_name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_legal() {
        for (text, name) in [
            ("total", "total"),
            ("Order Total", "Order_Total"),
            ("2fa", "_2fa"),
            ("__typename", "_typename"),
            ("--", "_"),
            ("", "_"),
            ("größe", "gr__e"),
            ("_2", "_2"),
        ] {
            assert_eq!(legal(text), name);
        }
    }

    #[test]
    fn types_of_columns_are_in_pascal_case() {
        for (text, name) in [
            ("order_status", "OrderStatus"),
            ("mood", "Mood"),
            ("2d point", "_2dPoint"),
            ("ß", "_"),
            ("aB", "AB"),
        ] {
            assert_eq!(pascal(text), name);
        }
    }

    #[test]
    fn clashes_get_numbers_and_legal_names_keep_theirs() {
        let columns = ["a b", "a_b", "a-b", "a_b_2"];
        assert_eq!(fields(columns.into_iter()), ["a_b_3", "a_b", "a_b_4", "a_b_2"]);
        assert_eq!(fields(["--", "++", "_2", ""].into_iter()), ["_", "_3", "_2", "_4"]);
    }
}
