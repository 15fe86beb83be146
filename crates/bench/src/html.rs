//! Runs as a page that stands alone: tables and charts, nothing fetched from anywhere.
//!
//! Whatever comes out of a file or from the command line is text on the page, never markup.

mod axis;
mod chart;
mod figures;
mod markup;

use std::fmt::Write as _;

use crate::html::chart::Chart;
use crate::html::markup::{COLORS, escape};
use crate::report;
use crate::show::measure;
use crate::summary::NamedRun;

const STYLE: &str = include_str!("html/style.css");

/// The page of some runs.
pub fn page(runs: &[NamedRun]) -> String {
    let title = match runs {
        [one] => format!("galgo bench: {}", one.run.kind.word()),
        _ => format!("galgo bench: {} compared", measure::counted(runs.len() as u64, "run")),
    };
    let mut page = String::new();
    let title = escape(&title);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    page.push_str(&cards(runs));
    page.push_str(&amounts(runs));
    page.push_str(&latencies(runs));
    for chart in charts(runs) {
        page.push_str(&chart.render());
    }
    page.push_str(&usage(runs));
    page.push_str(
        "<footer>Percentiles are of HDR histograms of three digits. In an open loop a request ",
    );
    page.push_str("counts from when it was due, not from when it was sent.</footer>\n");
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// What each run was.
fn cards(runs: &[NamedRun]) -> String {
    let mut html = String::from("<section class=\"runs\">\n");
    for (index, NamedRun { name, run }) in runs.iter().enumerate() {
        let _ = write!(
            html,
            "<article><h2><i class=\"swatch k{}\"></i>{}</h2>\n<p>{}</p>\n",
            index % COLORS,
            escape(name),
            escape(&report::conditions(run)),
        );
        let _ = writeln!(
            html,
            "<p class=\"small\">{} · counted {:.2} s · galgo {}</p>",
            escape(&run.started_at),
            run.seconds,
            escape(&run.version),
        );
        if run.interrupted {
            html.push_str("<p class=\"warn\">Ended early.</p>\n");
        }
        let unsent: u64 = run.sent.iter().chain(&run.received).map(|it| it.unsent_requests).sum();
        if unsent > 0 {
            let unsent = measure::counted(unsent, "request");
            let _ = writeln!(html, "<p class=\"warn\">{unsent} due in time were never sent.</p>");
        }
        html.push_str("</article>\n");
    }
    html.push_str("</section>\n");
    html
}

fn amounts(runs: &[NamedRun]) -> String {
    let mut rows = Vec::new();
    for NamedRun { name, run } in runs {
        for (side, work) in [("sent", &run.sent), ("received", &run.received)] {
            let Some(work) = work else { continue };
            rows.push(vec![
                name.clone(),
                side.to_owned(),
                measure::bytes_per_second(work.bytes_per_second),
                measure::per_second(work.messages_per_second),
                measure::per_second(work.requests_per_second),
                measure::count(work.messages),
            ]);
        }
    }
    let titles = ["run", "", "payload", "messages/s", "requests/s", "messages"];
    html_table("Throughput", &titles, 2, &rows)
}

fn latencies(runs: &[NamedRun]) -> String {
    let mut rows = Vec::new();
    for NamedRun { name, run } in runs {
        for (what, facts) in report::named_latencies(run) {
            let mut row = vec![name.clone(), what.to_owned()];
            row.extend(report::percentiles(facts).map(report::micros));
            rows.push(row);
        }
    }
    let titles = ["run", "", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    html_table("Latency", &titles, 2, &rows)
}

fn usage(runs: &[NamedRun]) -> String {
    let mut rows = Vec::new();
    for NamedRun { name, run } in runs {
        for (who, usage) in [("server", &run.server_usage), ("load", &run.client_usage)] {
            let mut row = vec![name.clone(), who.to_owned()];
            row.extend(report::usage_cells(usage));
            rows.push(row);
        }
    }
    let titles = ["run", "process", "CPU", "CPU per GB", "CPU per request", "peak memory"];
    html_table("Cost", &titles, 2, &rows)
}

/// A table; the first columns are text, the others numbers.
fn html_table(title: &str, titles: &[&str], of_text: usize, rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let class = |column: usize| if column < of_text { "" } else { " class=\"n\"" };
    let mut html =
        format!("<section><h2>{}</h2>\n<div class=\"wide\"><table>\n<tr>", escape(title));
    for (column, title) in titles.iter().enumerate() {
        let _ = write!(html, "<th{}>{}</th>", class(column), escape(title));
    }
    html.push_str("</tr>\n");
    for row in rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(html, "<td{}>{}</td>", class(column), escape(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div></section>\n");
    html
}

fn charts(runs: &[NamedRun]) -> Vec<Chart> {
    [figures::percentiles(runs), figures::throughput(runs), figures::slowest(runs)]
        .into_iter()
        .filter(|chart| chart.has_points())
        .collect()
}

#[cfg(test)]
mod tests;
