#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A path from the root on, for a record that is read from another folder. It stays as it is where
/// the name of the current folder is no text in UTF-8.
package func absolutePath(_ path: String) -> String {
  guard !path.hasPrefix("/"), let bytes = getcwd(nil, 0) else { return path }
  defer { free(bytes) }
  guard let current = String(validatingCString: bytes) else { return path }
  return (current == "/" ? "" : current) + "/" + path
}
