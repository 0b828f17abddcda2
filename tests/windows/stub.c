/* Stands in for python.exe, py.exe, curl.exe, certutil.exe, tar.exe and uv.exe in the tests of the
   .bat files. Appends what it was started with to the file STUB_LOG, as UTF-8 lines:
   P program, C folder, A argument, V variable, I what it read, and E at the end. What it then does,
   see below. */
#include <direct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

static void line(FILE *log, char kind, const wchar_t *text)
{
    char utf8[65536];
    WideCharToMultiByte(CP_UTF8, 0, text, -1, utf8, sizeof utf8, NULL, NULL);
    fprintf(log, "%c %s\n", kind, utf8);
}

static int among(const wchar_t *words, const wchar_t *word) /* "3.11 3.12", "3.12" */
{
    return words && word[0] && wcsstr(words, word) != NULL;
}

static int python(int count, wchar_t **arguments, const wchar_t *self, int launcher)
{
    wchar_t refusal[MAX_PATH];
    int i, asked = 0;
    for (i = 1; i < count; i++)
        asked |= wcsstr(arguments[i], L"usable.py") != NULL;
    if (launcher && !(count > 1 && among(_wgetenv(L"STUB_PY"), arguments[1] + 1)))
        return 103; /* what py says when it has no such version */
    if (!asked)
        return _wgetenv(L"STUB_CODE") ? _wtoi(_wgetenv(L"STUB_CODE")) : 0;
    _snwprintf(refusal, MAX_PATH, L"%ls.unusable", self); /* a file beside it: refuse */
    return GetFileAttributesW(refusal) != INVALID_FILE_ATTRIBUTES;
}

static int curl(int count, wchar_t **arguments) /* saves STUB_ZIP */
{
    int i;
    for (i = 1; i + 1 < count; i++)
        if (!wcscmp(arguments[i], L"--output") && _wgetenv(L"STUB_ZIP"))
            return !CopyFileW(_wgetenv(L"STUB_ZIP"), arguments[i + 1], FALSE);
    return 6;
}

static int certutil(int count, wchar_t **arguments) /* knows only what STUB_SHA says is good */
{
    FILE *file = count > 2 ? _wfopen(arguments[2], L"rb") : NULL;
    char content[256] = "";
    const wchar_t *sum = L"0000000000000000000000000000000000000000000000000000000000000000";
    if (!file || _wgetenv(L"STUB_NO_CERTUTIL"))
        return 1;
    fread(content, 1, sizeof content - 1, file);
    fclose(file);
    if (!strcmp(content, "the zip of uv"))
        sum = _wgetenv(L"STUB_SHA");
    return wprintf(L"SHA256 hash of uv.zip:\n%ls\nCertUtil: done.\n", sum) < 0;
}

static int uv(const wchar_t *self) /* installs a copy of itself as Python */
{
    wchar_t folder[MAX_PATH], target[MAX_PATH];
    const wchar_t *place = _wgetenv(L"UV_PYTHON_INSTALL_DIR");
    if (_wgetenv(L"STUB_UV"))
        return _wtoi(_wgetenv(L"STUB_UV"));
    _wmkdir(place);
    _snwprintf(folder, MAX_PATH, L"%ls\\cpython-3.12.9-windows-x86_64-none", place);
    _wmkdir(folder);
    _snwprintf(target, MAX_PATH, L"%ls\\python.exe", folder);
    return !CopyFileW(self, target, FALSE);
}

int wmain(int count, wchar_t **arguments)
{
    wchar_t self[MAX_PATH], folder[MAX_PATH], name[MAX_PATH];
    wchar_t *variables = GetEnvironmentStringsW();
    FILE *log = _wfopen(_wgetenv(L"STUB_LOG"), L"ab");
    char input[256];
    int i;
    if (!log)
        return 99;
    GetModuleFileNameW(NULL, self, MAX_PATH);
    GetCurrentDirectoryW(MAX_PATH, folder);
    line(log, 'P', self);
    line(log, 'C', folder);
    for (i = 1; i < count; i++)
        line(log, 'A', arguments[i]);
    for (; *variables; variables += wcslen(variables) + 1)
        line(log, 'V', variables);
    if (_wgetenv(L"STUB_READS") && fgets(input, sizeof input, stdin))
        fprintf(log, "I %s\n", strtok(input, "\r\n"));
    fprintf(log, "E\n");
    fclose(log);
    _wsplitpath(self, NULL, NULL, name, NULL);
    if (!_wcsicmp(name, L"curl"))
        return curl(count, arguments);
    if (!_wcsicmp(name, L"certutil"))
        return certutil(count, arguments);
    if (!_wcsicmp(name, L"tar"))
        return !CopyFileW(self, L"uv.exe", FALSE);
    if (!_wcsicmp(name, L"uv"))
        return uv(self);
    return python(count, arguments, self, !_wcsicmp(name, L"py"));
}
