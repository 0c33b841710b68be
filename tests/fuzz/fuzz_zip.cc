// Zip archives: torch's files and release files. Each input is read as it is, and once more with
// the checksums of its stored entries put right, or no changed byte would ever get past them.
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>

#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/zip_archive.h"

namespace {

template <typename T>
T number_at(const std::string& bytes, std::size_t at) {
  T value{};
  if (at + sizeof(T) <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

// APPNOTE.TXT of the zip format, sections 4.3.7 (local header, 30 bytes) and 4.3.12 (central
// header, 46 bytes).
void repair_checksums(std::string& zip) {
  constexpr std::size_t kLocalHeaderBytes = 30;
  for (std::size_t central = 0; (central = zip.find("PK\x01\x02", central)) != std::string::npos;
       central += 4) {
    const std::size_t local = number_at<std::uint32_t>(zip, central + 42);
    const std::size_t size = number_at<std::uint32_t>(zip, central + 20);
    const std::size_t begin = local + kLocalHeaderBytes +
                              number_at<std::uint16_t>(zip, local + 26) +
                              number_at<std::uint16_t>(zip, local + 28);
    const bool stored = number_at<std::uint16_t>(zip, central + 10) == 0;
    if (!stored || central + 46 > zip.size() || begin > zip.size() || size > zip.size() - begin)
      continue;
    const auto checksum = static_cast<std::uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(zip.data()) + begin, static_cast<uInt>(size)));
    std::memcpy(zip.data() + central + 16, &checksum, sizeof(checksum));
    std::memcpy(zip.data() + local + 14, &checksum, sizeof(checksum));
  }
}

void read_all(const std::string& zip) {
  using namespace squant::eval;
  const auto bytes = std::as_bytes(std::span(zip));
  try {
    parse_checkpoint(bytes, "input");
  } catch (
      const std::invalid_argument&) {  // the one answer to bad input; anything else is a finding
  }
  try {
    const ZipArchive archive(bytes, "input");
    for (const std::string& name : archive.names()) archive.read(name);
  } catch (const std::invalid_argument&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string zip(reinterpret_cast<const char*>(data), size);
  read_all(zip);
  repair_checksums(zip);
  read_all(zip);
  return 0;
}
