// One style for all pages; it follows the reader's light or dark setting.
#include "report/html.h"

#include <fmt/format.h>

namespace vramwise {
namespace {

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:15px/1.45 system-ui,sans-serif;max-width:1040px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2rem}
code,pre{font:13px/1.4 ui-monospace,monospace}pre{background:var(--soft);padding:.6rem .8rem;overflow-x:auto}
table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line);text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;background:var(--soft)}svg text{font:11px system-ui,sans-serif;fill:currentColor}
.v{font-size:1.1rem;font-weight:600}.k{display:inline-block;width:.8em;height:.8em;margin-right:.4em}.l span{margin-right:1.2em;white-space:nowrap}
)";

}  // namespace

std::string html_head(std::string_view title) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>{}</title><style>{}</style></head><body>\n",
      html_escaped(title), kStyle);
}

std::string html_end() { return "</body></html>\n"; }

std::string html_escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string html_cell(std::string_view text) { return fmt::format("<td>{}</td>", html_escaped(text)); }
std::string html_number(std::string_view text) { return fmt::format("<td class=\"n\">{}</td>", html_escaped(text)); }

}  // namespace vramwise
