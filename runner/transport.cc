#include "runner/transport.h"

// The C interface alone: the C++ one of Open MPI 4.1 is gone in 5.0, and would have to be linked.
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <list>
#include <set>

namespace squant::runner {
namespace {

constexpr int kTag = 1;
constexpr int kMaxMessageBytes = 256 << 20;

void check(int code, const char* expression, int line) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw TransportError(std::string("transport.cc:") + std::to_string(line) + ": " + expression +
                       ": " + std::string(text.data(), static_cast<std::size_t>(length)));
}
#define SQ_MPI_CHECK(expression) check((expression), #expression, __LINE__)

// The first of these variables that holds a number.
std::optional<int> number_in_environment(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    if (text == nullptr || *text == '\0') continue;
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*end == '\0' && value >= 0) return static_cast<int>(value);
  }
  return std::nullopt;
}

}  // namespace

Launch detect_launch() {
  Launch launch;
  const bool slurm_step = std::getenv("SLURM_STEP_ID") != nullptr &&
                          std::getenv("PMIX_RANK") == nullptr && std::getenv("PMI_RANK") == nullptr;
  // Inside a batch script SLURM_PROCID is set too, but MPI is up only in a step whose PMI or PMIx
  // says so.
  const std::optional<int> rank =
      number_in_environment({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"});
  if (rank) {
    launch.by_mpi = true;
    launch.rank = *rank;
    launch.size =
        number_in_environment({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
            .value_or(0);
  } else if (slurm_step) {
    launch.rank = number_in_environment({"SLURM_PROCID"}).value_or(0);
    launch.size = number_in_environment({"SLURM_STEP_NUM_TASKS"}).value_or(1);
  }
  const char* recovery = std::getenv("OMPI_MCA_orte_enable_recovery");
  launch.recovery = recovery != nullptr && std::strcmp(recovery, "0") != 0;
  launch.binding_given = std::getenv("OMPI_MCA_hwloc_base_binding_policy") != nullptr;
  return launch;
}

// --- MPI

struct MpiTransport::Impl {
  struct Outgoing {
    Bytes bytes;  // at a fixed address until the request is done
    MPI_Request request = MPI_REQUEST_NULL;
  };
  struct Incoming {
    int source = 0;
    Bytes bytes;
    MPI_Request request = MPI_REQUEST_NULL;
    bool done = false;
  };
  int rank = 0;
  int size = 1;
  std::list<Outgoing> outgoing;
  std::list<Incoming> incoming;  // in the order of arrival

  void start_receives() {
    for (;;) {
      int found = 0;
      MPI_Message message = MPI_MESSAGE_NULL;
      MPI_Status status;
      SQ_MPI_CHECK(MPI_Improbe(MPI_ANY_SOURCE, kTag, MPI_COMM_WORLD, &found, &message, &status));
      if (found == 0) return;
      int length = 0;
      SQ_MPI_CHECK(MPI_Get_count(&status, MPI_BYTE, &length));
      if (length < 0 || length > kMaxMessageBytes) {
        throw TransportError("rank " + std::to_string(status.MPI_SOURCE) +
                             " announces a message of " + std::to_string(length) + " bytes");
      }
      Incoming& arriving = incoming.emplace_back();
      arriving.source = status.MPI_SOURCE;
      arriving.bytes.resize(static_cast<std::size_t>(length));
      // Not MPI_Mrecv: the rest of a large message never comes where its sender died, and that must
      // not stop this rank.
      SQ_MPI_CHECK(
          MPI_Imrecv(arriving.bytes.data(), length, MPI_BYTE, &message, &arriving.request));
    }
  }

  void finish_sends() {
    for (auto one = outgoing.begin(); one != outgoing.end();) {
      int done = 0;
      SQ_MPI_CHECK(MPI_Test(&one->request, &done, MPI_STATUS_IGNORE));
      one = done != 0 ? outgoing.erase(one) : std::next(one);
    }
  }
};

MpiTransport::MpiTransport(int* argc, char*** argv) : impl_(std::make_unique<Impl>()) {
  int provided = MPI_THREAD_SINGLE;
  SQ_MPI_CHECK(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
  SQ_MPI_CHECK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  SQ_MPI_CHECK(MPI_Comm_rank(MPI_COMM_WORLD, &impl_->rank));
  SQ_MPI_CHECK(MPI_Comm_size(MPI_COMM_WORLD, &impl_->size));
  if (provided < MPI_THREAD_FUNNELED) {
    throw TransportError(
        "this MPI library does not allow threads beside the one that calls it "
        "(MPI_THREAD_FUNNELED)");
  }
}

MpiTransport::~MpiTransport() = default;

int MpiTransport::rank() const { return impl_->rank; }
int MpiTransport::size() const { return impl_->size; }

std::vector<std::string> MpiTransport::gather_on_host(const std::string& mine) {
  MPI_Comm host = MPI_COMM_NULL;
  SQ_MPI_CHECK(
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, impl_->rank, MPI_INFO_NULL, &host));
  int count = 0;
  SQ_MPI_CHECK(MPI_Comm_size(host, &count));
  const int length = static_cast<int>(mine.size());
  std::vector<int> lengths(static_cast<std::size_t>(count));
  SQ_MPI_CHECK(MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, host));
  std::vector<int> starts;
  int total = 0;
  for (const int one : lengths) {
    starts.push_back(total);
    total += one;
  }
  std::string all(static_cast<std::size_t>(total), '\0');
  SQ_MPI_CHECK(MPI_Allgatherv(mine.data(), length, MPI_BYTE, all.data(), lengths.data(),
                              starts.data(), MPI_BYTE, host));
  SQ_MPI_CHECK(MPI_Comm_free(&host));
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    parts.push_back(
        all.substr(static_cast<std::size_t>(starts[i]), static_cast<std::size_t>(lengths[i])));
  }
  return parts;
}

void MpiTransport::send(int to, Bytes bytes) {
  Impl::Outgoing& leaving = impl_->outgoing.emplace_back();
  leaving.bytes = std::move(bytes);
  SQ_MPI_CHECK(MPI_Isend(leaving.bytes.data(), static_cast<int>(leaving.bytes.size()), MPI_BYTE, to,
                         kTag, MPI_COMM_WORLD, &leaving.request));
}

std::optional<Envelope> MpiTransport::receive() {
  impl_->finish_sends();
  impl_->start_receives();
  std::set<int> blocked;  // sources with an earlier message that is still arriving
  for (auto one = impl_->incoming.begin(); one != impl_->incoming.end(); ++one) {
    if (!one->done) {
      int done = 0;
      SQ_MPI_CHECK(MPI_Test(&one->request, &done, MPI_STATUS_IGNORE));
      one->done = done != 0;
    }
    if (!one->done) blocked.insert(one->source);
    if (!one->done || blocked.contains(one->source)) continue;
    Envelope envelope{one->source, std::move(one->bytes)};
    impl_->incoming.erase(one);
    return envelope;
  }
  return std::nullopt;
}

bool MpiTransport::flushed() {
  impl_->finish_sends();
  return impl_->outgoing.empty();
}

void MpiTransport::finalize() { MPI_Finalize(); }

void MpiTransport::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

std::string MpiTransport::library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  std::string version(text.data(), static_cast<std::size_t>(length));
  // "Open MPI v4.1.4, package: ..., ident: ...": the first part says it.
  version = version.substr(0, version.find_first_of(",\n"));
  const auto v = version.find(" v");
  if (v != std::string::npos) version.erase(v + 1, 1);
  return version;
}

// --- loopback

std::pair<std::unique_ptr<LoopbackTransport>, std::unique_ptr<LoopbackTransport>>
LoopbackTransport::make_pair(int rank_a, int rank_b) {
  auto a = std::make_unique<LoopbackTransport>();
  auto b = std::make_unique<LoopbackTransport>();
  a->rank_ = rank_a;
  b->rank_ = rank_b;
  a->inbox_ = b->outbox_ = std::make_shared<std::deque<Envelope>>();
  b->inbox_ = a->outbox_ = std::make_shared<std::deque<Envelope>>();
  return {std::move(a), std::move(b)};
}

void LoopbackTransport::send(int, Bytes bytes) { outbox_->push_back({rank_, std::move(bytes)}); }

std::optional<Envelope> LoopbackTransport::receive() {
  if (inbox_->empty()) return std::nullopt;
  Envelope envelope = std::move(inbox_->front());
  inbox_->pop_front();
  return envelope;
}

}  // namespace squant::runner
