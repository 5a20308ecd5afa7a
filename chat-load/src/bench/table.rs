//! Tables for a terminal.

use crate::histogram::Quantiles;

/// Prints a table: a title, and rows whose first one names the columns. Columns are aligned to the right,
/// but for the first.
pub(crate) fn print(title: &str, rows: &[Vec<String>]) {
    println!("\n{title}");
    print!("{}", layout(rows));
}

fn layout(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|c| {
            rows.iter()
                .filter_map(|row| row.get(c))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(
                |(c, (cell, width))| {
                    if c == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        out.push_str("  ");
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A row of cells.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.into_iter().map(str::to_owned).collect()
}

/// Whether a bar was met, for a cell.
pub(crate) fn met(yes: bool) -> &'static str {
    if yes { "met" } else { "MISSED" }
}

/// p50, p99 and the largest in milliseconds, a cell each.
pub(crate) fn ms(quantiles: Option<Quantiles>) -> [String; 3] {
    quantiles
        .map_or(["-".into(), "-".into(), "-".into()], |q| [q.p50, q.p99, q.max].map(|ms| format!("{ms:.1}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [row(["what", "µs"]), row(["a long name", "5"]), row(["b", "1234.5"])];
        assert_eq!(layout(&rows), "  what             µs\n  a long name       5\n  b            1234.5\n");
    }
}
