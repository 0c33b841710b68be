// A database to look at, also while its writer holds it for itself. Internal to results/.
#pragma once

#include <iostream>
#include <memory>
#include <string>

#include "results/connection.h"

namespace squant::results {

// The file itself as Connection::open_reader() opens it; its snapshot where the file cannot be read
// beside its writer (network file systems), or was left in the middle of a commit. Then a line with
// the snapshot's time and age goes to `notes`, and the connection keeps it (Connection::note()).
// Throws as open_reader() does; StoreLocked where there is no snapshot yet.
std::unique_ptr<Connection> open_view(const std::string& path, std::ostream& notes = std::cerr);

}  // namespace squant::results
