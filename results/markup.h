// Text in XML and HTML. Internal to results/.
#pragma once

#include <string>
#include <string_view>

namespace squant::results {

// `text` as character data or attribute value: & < > " ' and line breaks escaped, bytes that are no
// UTF-8 replaced by U+FFFD, control characters (XML 1.0 has no way to write them) by '?'.
std::string escape_markup(std::string_view text);

}  // namespace squant::results
