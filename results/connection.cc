#include "results/connection.h"

#include <SQLiteCpp/Backup.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "results/schema.h"

namespace squant::results {
namespace {

namespace fs = std::filesystem;

constexpr int kBusyTimeoutMs = 5000;
constexpr int kOldestSqlite = 3037000;  // STRICT tables

std::string prefix(const std::string& path, std::string_view purpose) {
  return path + ": cannot " + std::string(purpose) + ": ";
}

// What SQLite would only call "unable to open database file".
void check_path(const std::string& path, bool create) {
  const std::string front = prefix(path, "open the results database");
  if (path.empty()) throw StoreError("cannot open the results database: its name is empty");
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  if (fs::is_directory(status)) throw StoreError(front + "it is a directory; name a file in it");
  if (!fs::exists(status)) {
    if (code && status.type() == fs::file_type::none) throw StoreError(front + code.message());
    if (!create)
      throw StoreError(front +
                       "there is no such file; squant-sweep makes it, --db names another one");
    const fs::path folder =
        fs::path(path).has_parent_path() ? fs::path(path).parent_path() : fs::path(".");
    if (!fs::is_directory(folder, code))
      throw StoreError(front + "the folder " + folder.string() + " is not there");
    if (::access(folder.c_str(), W_OK) != 0) {
      throw StoreError(front + "the folder " + folder.string() + " is not writable");
    }
    return;
  }
  if (!fs::is_regular_file(status)) throw StoreError(front + "it is not a regular file");
  if (::access(path.c_str(), create ? R_OK | W_OK : R_OK) != 0) {
    throw StoreError(front + (create ? "the file is not writable: " : "") + std::strerror(errno));
  }
  std::ifstream file(path, std::ios::binary);
  std::string magic(16, '\0');
  file.read(magic.data(), 16);
  const bool is_empty = file.gcount() == 0;
  if (is_empty ? !create : magic != std::string("SQLite format 3\0", 16)) {
    throw StoreIncompatible(front +
                            (is_empty ? "the file is empty" : "it is not an SQLite database"));
  }
}

// Network file systems that statfs gives a number of their own, and FUSE, behind which may be
// anything, are not listed.
bool is_local_filesystem(std::uint32_t type) {
  switch (type) {
    case 0xEF53:      // ext2, ext3, ext4
    case 0x58465342:  // xfs
    case 0x9123683E:  // btrfs
    case 0x2FC12FC1:  // zfs
    case 0xCA451A4E:  // bcachefs
    case 0xF2F52010:  // f2fs
    case 0x01021994:  // tmpfs
    case 0x858458F6:  // ramfs
    case 0x794C7630:  // overlayfs
    case 0x3153464A:  // jfs
    case 0x52654973:  // reiserfs
    case 0x4D44:      // vfat
    case 0x2011BAB0:  // exfat
      return true;
    default:
      return false;
  }
}

// The owner as the file on disk names it, without asking for any lock. Only for messages: the read
// may be torn.
std::string peek_owner(const std::string& path) {
  try {
    SQLite::Database database(file_uri(path, "immutable=1"),
                              SQLite::OPEN_READONLY | SQLite::OPEN_URI);
    SQLite::Statement owner(
        database,
        "SELECT 'host ' || host || ', pid ' || pid || ', since ' || started_at ||"
        " ', last heartbeat ' || heartbeat_at FROM writer WHERE held");
    return owner.executeStep() ? owner.getColumn(0).getString() : std::string();
  } catch (const SQLite::Exception&) {
    return {};
  }
}

void check_ours(Connection& connection) {
  const std::int64_t application = connection.pragma("application_id");
  const std::int64_t version = connection.pragma("user_version");
  const std::string front = prefix(connection.path(), "use the file as a results database");
  if (application != kApplicationId) {
    SQLite::Statement tables(connection.database(), "SELECT count(*) FROM sqlite_master");
    tables.executeStep();
    if (application == 0 && version == 0 && tables.getColumn(0).getInt() == 0) return;  // new
    throw StoreIncompatible(front + "it is another program's SQLite database");
  }
  if (version > kSchemaVersion) {
    throw StoreIncompatible(front + "its schema version is " + std::to_string(version) +
                            ", this program knows " + std::to_string(kSchemaVersion) +
                            "; use the newer squant-sweep that wrote it");
  }
}

void set_journal_mode(Connection& connection, JournalMode mode) {
  if (mode == JournalMode::kWal) {
    connection.exec("PRAGMA journal_mode = WAL");
  } else {
    // In this order: with exclusive locking a file left in WAL mode is read without shared memory.
    connection.exec("PRAGMA locking_mode = EXCLUSIVE");
    connection.exec("PRAGMA journal_mode = TRUNCATE");
  }
  connection.exec("PRAGMA synchronous = FULL");
}

// A database in WAL mode cannot be read where its -shm file can neither be found nor made. If
// nothing waits in a -wal file, nobody writes it there, and it can be read as it is.
bool can_only_be_read_as_is(const std::string& path) {
  const fs::path folder =
      fs::path(path).has_parent_path() ? fs::path(path).parent_path() : fs::path(".");
  std::error_code code;
  const bool has_wal = fs::exists(path + "-wal", code) && fs::file_size(path + "-wal", code) > 0;
  return ::access(folder.c_str(), W_OK) != 0 && !fs::exists(path + "-shm", code) && !has_wal;
}

// Why the last read or write failed. SQLite keeps it with the file: the database, or its journal or
// write-ahead log.
int system_error_of(sqlite3* handle) {
  int error = sqlite3_system_errno(handle);
  for (const int which : {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER}) {
    sqlite3_file* file = nullptr;
    if (error != 0 || sqlite3_file_control(handle, "main", which, &file) != SQLITE_OK) continue;
    if (file != nullptr && file->pMethods != nullptr) {
      file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error);
    }
  }
  return error;
}

}  // namespace

void copy_database(SQLite::Database& from, SQLite::Database& to, const char* schema) {
  SQLite::Backup backup(to, schema, from, "main");
  const int code = backup.executeStep(-1);  // waits for a lock as any other statement does
  if (code != SQLITE_DONE) throw SQLite::Exception(sqlite3_errstr(code), code);
}

std::string file_uri(const std::string& path, const std::string& options) {
  std::string uri =
      path.starts_with('/') ? "file://" : "file:";  // an empty authority, so that "//x" is not one
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      uri += c == '%' ? "%25" : c == '?' ? "%3f" : "%23";
    } else {
      uri += c;
    }
  }
  return options.empty() ? uri : uri + '?' + options;
}

JournalMode journal_mode_for(std::uint32_t filesystem_type) {
  return is_local_filesystem(filesystem_type) ? JournalMode::kWal : JournalMode::kExclusiveTruncate;
}

JournalMode journal_mode_at(const std::string& path) {
  const char* const told = std::getenv("SQUANT_DATABASE_ON");
  if (told != nullptr && *told != '\0') {
    if (std::strcmp(told, "network") == 0) return JournalMode::kExclusiveTruncate;
    throw StoreError(std::string("SQUANT_DATABASE_ON is '") + told + "'; it can only be 'network'");
  }
  struct statfs info {};
  if (::statfs(path.c_str(), &info) != 0) {
    throw StoreError(prefix(path, "ask for the file system") + std::strerror(errno));
  }
  return journal_mode_for(static_cast<std::uint32_t>(info.f_type));
}

std::string snapshot_path(const std::string& path) { return path + ".snapshot"; }

void throw_store_error(const SQLite::Database& database, const std::string& path,
                       std::string_view purpose, const SQLite::Exception& error) {
  const int code = error.getErrorCode() & 0xff;  // some of SQLiteCpp's are extended ones
  const int system_error = code == SQLITE_IOERR ? system_error_of(database.getHandle()) : 0;
  const std::string text = prefix(path, purpose) + error.what();
  // A quota ends writes with EDQUOT, a limit on the file size with EFBIG: SQLite calls both an I/O
  // error.
  const bool is_full_by_errno =
      system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG;
  if (code == SQLITE_FULL || is_full_by_errno) {
    throw StoreFull(
        text + (is_full_by_errno ? std::string(" (") + std::strerror(system_error) + ")" : "") +
        ": no space is left; nothing of this was written, free some space and try again");
  }
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
    const std::string owner = peek_owner(path);
    throw StoreLocked(text + ": another process holds the file" +
                      (owner.empty() ? "" : " (" + owner + ")"));
  }
  if (error.getExtendedErrorCode() == SQLITE_READONLY_ROLLBACK) {
    throw StoreUnfinished(text +
                          ": its writer died in the middle of a commit; the next squant-sweep "
                          "undoes that");
  }
  if (code == SQLITE_CONSTRAINT)
    throw StoreError(text + ": a run, worker or job is not known, or a count is impossible");
  if (code == SQLITE_NOTADB) throw StoreIncompatible(text);
  if (code == SQLITE_CORRUPT)
    throw StoreError(text + ": the file is damaged; `squant-results doctor` says where");
  if (system_error != 0) throw StoreError(text + " (" + std::strerror(system_error) + ")");
  throw StoreError(text);
}

Connection::Connection(const std::string& path, const std::string& uri_options, int flags)
    : path_(path),
      database_(file_uri(path, uri_options), flags | SQLite::OPEN_URI, kBusyTimeoutMs) {}

std::unique_ptr<Connection> Connection::open_writer(const std::string& path,
                                                    std::optional<JournalMode> mode) {
  if (sqlite3_libversion_number() < kOldestSqlite) {
    throw StoreError(prefix(path, "open the results database") +
                     "it needs SQLite 3.37 or newer, this is " + sqlite3_libversion());
  }
  check_path(path, true);
  std::unique_ptr<Connection> connection;
  try {
    connection.reset(new Connection(path, "", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE));
  } catch (const SQLite::Exception& error) {
    throw StoreError(prefix(path, "open the results database") + error.what());
  }
  connection->journal_mode_ = mode ? *mode : journal_mode_at(path);
  connection->guarded("open the results database", [&] {
    if (connection->journal_mode_ == JournalMode::kExclusiveTruncate) {
      connection->exec("PRAGMA locking_mode = EXCLUSIVE");
    }
    check_ours(*connection);
    set_journal_mode(*connection, connection->journal_mode_);
    connection->exec("PRAGMA foreign_keys = ON");
  });
  return connection;
}

std::unique_ptr<Connection> Connection::open_reader(const std::string& path) {
  check_path(path, false);
  return open_existing(path, can_only_be_read_as_is(path) ? "immutable=1" : "");
}

std::unique_ptr<Connection> Connection::open_unlocked(const std::string& path) {
  check_path(path, false);
  return open_existing(path, "immutable=1");
}

std::unique_ptr<Connection> Connection::open_existing(const std::string& path,
                                                      const std::string& uri_options) {
  std::unique_ptr<Connection> connection;
  try {
    connection.reset(new Connection(path, uri_options, SQLite::OPEN_READONLY));
  } catch (const SQLite::Exception& error) {
    throw StoreError(prefix(path, "open the results database") + error.what());
  }
  connection->guarded("open the results database", [&] {
    check_ours(*connection);
    const std::int64_t version = connection->pragma("user_version");
    if (version == 0)
      throw StoreIncompatible(prefix(path, "read the results database") + "it is empty");
    if (version < kSchemaVersion) connection->become_migrated_copy();
    connection->exec("PRAGMA query_only = ON");
  });
  return connection;
}

void Connection::become_migrated_copy() {
  // Without a name: in memory, on the disk where it is large, and gone with the connection.
  SQLite::Database copy("", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  copy_database(database_, copy, "main");
  {
    SQLite::Transaction transaction(copy);
    migrate(copy);
    transaction.commit();
  }
  database_ = std::move(copy);
  is_copy_ = true;
}

SQLite::Statement& Connection::statement(const char* sql) {
  auto [found, is_new] = statements_.try_emplace(sql);
  if (is_new) {
    try {
      found->second = std::make_unique<SQLite::Statement>(database_, sql);
    } catch (...) {
      statements_.erase(found);
      throw;
    }
  }
  return *found->second;
}

std::int64_t Connection::pragma(const char* name) {
  return database_.execAndGet(std::string("PRAGMA ") + name).getInt64();
}

std::string utc_now() {
  const auto now = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[80];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  const int milliseconds = static_cast<int>(now.time_since_epoch().count() % 1000);
  std::snprintf(text + length, sizeof text - length, ".%03dZ", milliseconds);
  return text;
}

}  // namespace squant::results
