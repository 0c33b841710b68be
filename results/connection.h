// One open SQLite file: prepared statements kept, SQLite's errors as StoreError with path and
// purpose. Internal to results/. Not thread-safe.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "results/store.h"

namespace squant::results {

// How a file is opened for writing. WAL needs shared memory, which network file systems do not
// give, and their file locks are not to be trusted: there one process holds the file and keeps a
// rollback journal.
enum class JournalMode : std::uint8_t { kWal, kExclusiveTruncate };
// `filesystem_type` is statfs' f_type (linux/magic.h). File systems not known to be local count as
// network ones.
JournalMode journal_mode_for(std::uint32_t filesystem_type);
// By the file system that the existing file lies on. SQUANT_DATABASE_ON=network in the environment
// says that it is a network one, where statfs does not know.
JournalMode journal_mode_at(const std::string& path);

// "results.sqlite.snapshot": the copy for viewers that the writer publishes where it holds the file
// for itself.
std::string snapshot_path(const std::string& path);

// The file as a URI: no character of the path means anything else. `options`: "mode=ro".
std::string file_uri(const std::string& path, const std::string& options = {});

// Copies the database `from` as it is now over the one attached to `to` as `schema`.
void copy_database(SQLite::Database& from, SQLite::Database& to, const char* schema);

// Throws what `error` means: StoreFull, StoreLocked, StoreIncompatible or StoreError.
[[noreturn]] void throw_store_error(const SQLite::Database& database, const std::string& path,
                                    std::string_view purpose, const SQLite::Exception& error);

// A prepared statement in use: reset on both ends, so that no read transaction stays open.
class Query {
 public:
  explicit Query(SQLite::Statement& statement) : statement_(statement) { statement_.tryReset(); }
  ~Query() { statement_.tryReset(); }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  // Binds the parameters in order. Strings must outlive the query. Empty optionals are NULL.
  template <typename... Values>
  Query& bind(const Values&... values) {
    int index = 0;
    (bind_one(++index, values), ...);
    return *this;
  }
  bool step() { return statement_.executeStep(); }
  // Runs a statement without rows; number of changed rows.
  int run() { return statement_.exec(); }
  SQLite::Column operator[](int column) { return statement_.getColumn(column); }
  bool is_null(int column) { return statement_.getColumn(column).isNull(); }
  std::string text(int column) { return statement_.getColumn(column).getString(); }
  std::int64_t integer(int column) { return statement_.getColumn(column).getInt64(); }
  double real(int column) { return statement_.getColumn(column).getDouble(); }
  std::optional<std::string> optional_text(int column) {
    return is_null(column) ? std::nullopt : std::optional(text(column));
  }
  std::optional<double> optional_real(int column) {
    return is_null(column) ? std::nullopt : std::optional(real(column));
  }

 private:
  void bind_one(int index, std::int64_t value) { statement_.bind(index, value); }
  void bind_one(int index, int value) { statement_.bind(index, value); }
  void bind_one(int index, bool value) { statement_.bind(index, value ? 1 : 0); }
  void bind_one(int index, double value) { statement_.bind(index, value); }
  void bind_one(int index, const std::string& value) { statement_.bindNoCopy(index, value); }
  void bind_one(int index, const char* value) { statement_.bindNoCopy(index, value); }
  template <typename T>
  void bind_one(int index, const std::optional<T>& value) {
    value ? bind_one(index, *value) : statement_.bind(index);
  }
  SQLite::Statement& statement_;
};

class Connection {
 public:
  // Creates the file if it is not there. Refuses what is not ours before changing anything in it.
  // `mode`: by the file system, if not given.
  static std::unique_ptr<Connection> open_writer(const std::string& path,
                                                 std::optional<JournalMode> mode = {});
  // The file must exist. Where its schema is an older one, this connection is to a temporary copy
  // brought up to date: neither the file nor its folder need be writable, and what is written to it
  // later does not show.
  static std::unique_ptr<Connection> open_reader(const std::string& path);
  // The same for a file that nobody writes, or that is read at the risk of finding half of what is
  // being written: no lock is asked for.
  static std::unique_ptr<Connection> open_unlocked(const std::string& path);

  SQLite::Database& database() { return database_; }
  const std::string& path() const { return path_; }
  JournalMode journal_mode() const { return journal_mode_; }
  bool is_copy() const { return is_copy_; }
  // What whoever sees this data should know of it; empty: nothing.
  const std::string& note() const { return note_; }
  void set_note(const std::string& note) { note_ = note; }
  // `sql` is a literal: it is prepared once and found again by its text.
  SQLite::Statement& statement(const char* sql);
  void exec(const std::string& sql) { database_.exec(sql); }
  std::int64_t pragma(const char* name);

  // Runs `body`; what SQLite throws in it becomes a StoreError that begins with the path and
  // `purpose`.
  template <typename Body>
  auto guarded(std::string_view purpose, Body&& body) {
    try {
      return body();
    } catch (const SQLite::Exception& error) {
      throw_store_error(database_, path_, purpose, error);
    }
  }
  // The same in one immediate transaction: all of it, durable on return, or nothing.
  template <typename Body>
  void write(std::string_view purpose, Body&& body) {
    guarded(purpose, [&] {
      SQLite::Transaction transaction(database_, SQLite::TransactionBehavior::IMMEDIATE);
      // Guarded once more: the rollback on the way out overwrites what the system said.
      guarded(purpose, [&] {
        body();
        transaction.commit();
      });
    });
  }

 private:
  Connection(const std::string& path, const std::string& uri_options, int flags);
  static std::unique_ptr<Connection> open_existing(const std::string& path,
                                                   const std::string& uri_options);
  void become_migrated_copy();
  std::string path_;
  SQLite::Database database_;
  std::string note_;
  bool is_copy_ = false;
  JournalMode journal_mode_ = JournalMode::kWal;
  std::unordered_map<std::string_view, std::unique_ptr<SQLite::Statement>> statements_;
};

// "2026-01-31T12:00:00.000Z"
std::string utc_now();

}  // namespace squant::results
