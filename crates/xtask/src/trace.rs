//! Requirement rows and the tests that prove them.
//!
//! Rows are the first cells of the tables in `docs/requirements.md`. A test names the rows it
//! proves in its doc comment (`req: B-6.5.a, P-5.8.9.2.d`). A row without a test has its reason in
//! `docs/reasons.md`, by its id or by a prefix that ends in `*`. An unknown id, or a tag that
//! stands on anything but a test, is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::json;

use crate::source::{self, RustFile};

/// A requirement row with what stands for it.
struct Row {
    id: String,
    text: String,
    tests: BTreeSet<String>,
    reason: Option<String>,
}

/// Writes `docs/conformance.md` and prints the totals.
pub fn write() -> Result<(), String> {
    let rows = rows()?;
    let path = source::root().join("docs/conformance.md");
    std::fs::write(&path, report(&rows)).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("{}", totals(&rows));
    Ok(())
}

/// Fails when `docs/conformance.md` is not what the tests say.
pub fn check() -> Result<(), String> {
    let rows = rows()?;
    let written = source::read(&source::root().join("docs/conformance.md"))?;
    if written != report(&rows) {
        return Err("docs/conformance.md is out of date: run `cargo xtask trace` and commit it".into());
    }
    println!("{}", totals(&rows));
    Ok(())
}

/// Prints `{"rows":[{"id","tests","reason"}]}`.
pub fn print_json() -> Result<(), String> {
    let rows: Vec<_> =
        rows()?.iter().map(|row| json!({ "id": row.id, "tests": row.tests, "reason": row.reason })).collect();
    println!("{}", json!({ "rows": rows }));
    Ok(())
}

fn rows() -> Result<Vec<Row>, String> {
    let docs = source::root().join("docs");
    let mut rows = parse_table(&source::read(&docs.join("requirements.md"))?);
    let index: BTreeMap<String, usize> =
        rows.iter().enumerate().map(|(position, row)| (row.id.clone(), position)).collect();
    let mut errors = Vec::new();
    for file in source::rust_files()? {
        for tag in tags(&file, &mut errors) {
            match index.get(&tag.row) {
                Some(position) => _ = rows[*position].tests.insert(tag.test),
                None => {
                    errors.push(format!("{}: {} names {}, which is no row", file.path, tag.test, tag.row))
                }
            }
        }
    }
    give_reasons(&mut rows, &source::read(&docs.join("reasons.md"))?, &mut errors);
    if errors.is_empty() { Ok(rows) } else { Err(errors.join("\n")) }
}

/// The rows of every table whose first cell is a requirement id.
fn parse_table(text: &str) -> Vec<Row> {
    let mut seen = BTreeSet::new();
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let (id, text) = (cells.next()?.trim(), cells.next()?.trim());
            (is_id(id) && seen.insert(id.to_owned())).then(|| Row {
                id: id.to_owned(),
                text: text.to_owned(),
                tests: BTreeSet::new(),
                reason: None,
            })
        })
        .collect()
}

/// `W-6.1.a`, `P-5.7.2.2.1.12`, `J-TOC.a`.
fn is_id(text: &str) -> bool {
    let Some((source, clause)) = text.split_once('-') else { return false };
    matches!(source, "W" | "P" | "B" | "J")
        && clause.contains('.')
        && clause.chars().all(|character| character.is_ascii_alphanumeric() || character == '.')
}

/// A row named by a test.
struct Tag {
    row: String,
    test: String,
}

/// The tags of one file. A tag belongs to the function whose doc comment it stands in, which must
/// carry a test attribute.
fn tags(file: &RustFile, errors: &mut Vec<String>) -> Vec<Tag> {
    let mut found = Vec::new();
    let mut named: Vec<String> = Vec::new();
    let mut is_test = false;
    for line in file.text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            if let Some((_, list)) = comment.split_once("req:") {
                named.extend(ids(list));
            }
        } else if line.starts_with("#[") {
            is_test |= line.contains("test");
        } else if let Some(name) = function_name(line) {
            if !is_test && !named.is_empty() {
                errors.push(format!("{}: {name} names requirement rows and is no test", file.path));
            }
            let test = format!("{}::{name}", file.path);
            found.extend(named.drain(..).map(|row| Tag { row, test: test.clone() }));
            is_test = false;
        } else if !line.is_empty() && !line.starts_with("//") && !line.ends_with(")]") {
            if !named.is_empty() && !line.starts_with("proptest!") {
                errors.push(format!("{}: `req: {}` stands on no test", file.path, named.join(", ")));
            }
            named.clear();
            is_test = false;
        }
    }
    found
}

fn ids(list: &str) -> impl Iterator<Item = String> + '_ {
    list.split([',', ';', ' '])
        .map(|word| word.trim().trim_end_matches('.').to_owned())
        .filter(|word| !word.is_empty())
}

fn function_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ").unwrap_or(line);
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let rest = rest.strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

fn give_reasons(rows: &mut [Row], text: &str, errors: &mut Vec<String>) {
    for line in text.lines() {
        let Some((id, reason)) = line.strip_prefix("| ").and_then(|line| line.split_once(" | ")) else {
            continue;
        };
        let reason = reason.trim_end_matches('|').trim();
        let mut used = false;
        for row in rows.iter_mut() {
            let applies = match id.strip_suffix('*') {
                Some(prefix) => row.id.starts_with(prefix),
                None => row.id == id,
            };
            used |= applies;
            if applies && row.tests.is_empty() && row.reason.is_none() {
                row.reason = Some(reason.to_owned());
            }
        }
        if !used && (is_id(id) || id.ends_with('*')) {
            errors.push(format!("docs/reasons.md gives a reason for {id}, which is no row"));
        }
    }
}

fn totals(rows: &[Row]) -> String {
    let tested = rows.iter().filter(|row| !row.tests.is_empty()).count();
    let reasoned = rows.iter().filter(|row| row.tests.is_empty() && row.reason.is_some()).count();
    format!(
        "{} rows: {tested} with tests, {reasoned} with a reason, {} open",
        rows.len(),
        rows.len() - tested - reasoned
    )
}

fn report(rows: &[Row]) -> String {
    let mut out = String::from(
        "# Conformance\n\nWritten by `cargo xtask trace`. Each row of `requirements.md` with the tests that would fail \
         if it broke, or the reason why it has none.\n\n",
    );
    let _ = writeln!(out, "{}.\n", totals(rows));
    let mut chapter = "";
    for row in rows {
        let this = chapter_of(&row.id);
        if this != chapter {
            chapter = this;
            let _ = writeln!(out, "\n## {chapter}\n\n| row | what | tests |\n| --- | --- | --- |");
        }
        let tests: Vec<String> = row.tests.iter().map(|test| format!("`{test}`")).collect();
        let proof = match (&row.reason, tests.is_empty()) {
            (_, false) => tests.join("<br>"),
            (Some(reason), true) => format!("*{reason}*"),
            (None, true) => "open".to_owned(),
        };
        let _ = writeln!(out, "| {} | {} | {proof} |", row.id, row.text);
    }
    out
}

/// `P-5.8.4` of `P-5.8.4.1.1.a`; at most three numbers.
fn chapter_of(id: &str) -> &str {
    let end = id.match_indices('.').map(|(at, _)| at).nth(2).or_else(|| id.rfind('.')).unwrap_or(id.len());
    &id[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> RustFile {
        RustFile { path: "crates/x/src/lib.rs".into(), text: text.into() }
    }

    #[test]
    fn rows_are_the_table_lines_with_an_id() {
        let rows = parse_table(
            "| ID | what |\n| --- | --- |\n| B-6.5.a | SCP02 or SCP03 | both |\n| D-1 | no | x |\n",
        );
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].id.as_str(), rows[0].text.as_str()), ("B-6.5.a", "SCP02 or SCP03"));
    }

    #[test]
    fn a_tag_belongs_to_the_test_below_it() {
        let mut errors = Vec::new();
        let text = format!("/// Opens.\n/// req{} B-6.5.a, B-6.5.b.\n#[test]\nfn opens() {{\n", ':');
        let found = tags(&file(&text), &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        let named: Vec<_> = found.iter().map(|tag| (tag.row.as_str(), tag.test.as_str())).collect();
        let test = "crates/x/src/lib.rs::opens";
        assert_eq!(named, [("B-6.5.a", test), ("B-6.5.b", test)]);
    }

    #[test]
    fn a_tag_on_anything_else_is_an_error() {
        for text in ["/// req@ B-6.5.a\nfn helper() {}\n", "/// req@ B-6.5.a\nstruct S;\n"] {
            let mut errors = Vec::new();
            tags(&file(&text.replace('@', ":")), &mut errors);
            assert_eq!(errors.len(), 1, "{text}");
        }
    }

    #[test]
    fn reasons_go_to_rows_without_tests() {
        let mut rows = parse_table("| B-6.5.a | x | y |\n| B-6.5.b | x | y |\n| B-7.1.a | x | y |\n");
        rows[0].tests.insert("t".into());
        let mut errors = Vec::new();
        give_reasons(&mut rows, "| B-6.* | Later. |\n| B-9.9.z | Nowhere. |\n", &mut errors);
        assert_eq!(rows[0].reason, None);
        assert_eq!(rows[1].reason.as_deref(), Some("Later."));
        assert_eq!(rows[2].reason, None);
        assert_eq!(errors.len(), 1);
    }
}
