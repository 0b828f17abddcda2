@echo off
rem Finds a Python that Easy LoRA can use and starts a verb with it: start.bat VERB [ARGUMENTS]
rem All .bat files of the project folder end here. No path goes through "call" with arguments and
rem none is used outside quotes: both would break folders with a percent sign, a caret or an "and".
setlocal DisableDelayedExpansion
set "HERE=%~dp0"
for %%R in ("%~dp0..\..") do set "ROOT=%%~fR"
set "PLACE=%LOCALAPPDATA%\EasyLoRA"
set "PYTHONHOME="
set "PYTHONPATH="
set "PYTHON_MANAGER_AUTOMATIC_INSTALL=false"
set "FOUND="
set "OPTION="
rem The private environment comes first, but set-up may have to replace that one.
set "EXE=%ROOT%\.venv\Scripts\python.exe"
if /i not "%~1"=="setup" call :check
if defined FOUND goto start
call :look
if defined FOUND goto start
call :fetch
call :look
if defined FOUND goto start
echo.
echo No usable Python was found, and none could be fetched. Check the connection to the internet
echo and start again, or install Python 3.12 (64-bit) from python.org, with all its parts.
if defined EASY_LORA_CLICKED pause
exit /b 1

:start
"%EXE%" %OPTION% "%ROOT%\easy_scripts" %*
set "CODE=%ERRORLEVEL%"
if not "%CODE%"=="0" if not "%CODE%"=="2" if defined EASY_LORA_CLICKED pause
rem After a double-click, cmd would go on with what stood behind an "and" in a dropped file's name.
if defined EASY_LORA_CLICKED exit %CODE%
exit /b %CODE%

rem Tries EXE with OPTION; sets FOUND when Easy LoRA can use it.
:check
if defined FOUND exit /b 0
if "%OPTION%"=="" if not exist "%EXE%" exit /b 0
"%EXE%" %OPTION% -I -S "%HERE%usable.py" >nul 2>&1
if "%ERRORLEVEL%"=="0" set "FOUND=yes"
exit /b 0

rem Looks at our own Python, the launcher py, the registry and PATH, the best version first.
:look
set "OPTION="
set "EXE="
if exist "%PLACE%\python" call :own
for %%V in (3.12 3.11 3.13 3.10) do call :launcher %%V
for %%V in (3.12 3.11 3.13 3.10) do call :registry %%V HKCU
for %%V in (3.12 3.11 3.13 3.10) do call :registry %%V HKLM
if defined FOUND exit /b 0
set "REST=%PATH:"=%"
:next
set "LAST=%REST%"
for /f "eol=* tokens=1 delims=;" %%A in ("%REST%") do set "EXE=%%A\python.exe"
for /f "eol=* tokens=1,* delims=;" %%A in ("%REST%") do set "REST=%%B"
call :path
if defined FOUND exit /b 0
if "%REST%"=="%LAST%" exit /b 0
if defined REST goto next
exit /b 0

:own
pushd "%PLACE%\python"
for /d %%D in (cpython-3*) do set "EXE=%PLACE%\python\%%D\python.exe"
popd
if defined EXE call :check
exit /b 0

:launcher
if defined FOUND exit /b 0
set "EXE=py.exe"
set "OPTION=-%1"
call :check
if not defined FOUND set "OPTION="
exit /b 0

:registry
if defined FOUND exit /b 0
set "EXE="
set "KEY=%2\Software\Python\PythonCore\%1\InstallPath"
for /f "tokens=2,*" %%A in ('reg query "%KEY%" /v ExecutablePath 2^>nul') do set "EXE=%%B"
if defined EXE call :check
exit /b 0

rem The python.exe in WindowsApps only opens the Store.
:path
set "STORE=%EXE:\WindowsApps\=%"
if "%STORE%"=="%EXE%" call :check
exit /b 0

rem Fetches uv, checks that it is the one we know, and lets it install a Python of our own.
:fetch
set "UV=0.11.12"
set "SHA=e46956a6b088a0382101c797eef945c1b03826e629e968d434cf838d42d85b6b"
set "FROM=https://github.com/astral-sh/uv/releases/download/%UV%/uv-x86_64-pc-windows-msvc.zip"
echo Easy LoRA needs a Python, and there is none here that it can use. It fetches one of its own now
echo (about 60 MB, for this user only) into the folder %%LOCALAPPDATA%%\EasyLoRA.
set "REST=%PROCESSOR_IDENTIFIER:ARM=%"
if not "%REST%"=="%PROCESSOR_IDENTIFIER%" echo But this PC has an ARM processor, for which there is no PyTorch that could train.
if not "%REST%"=="%PROCESSOR_IDENTIFIER%" exit /b 1
if not exist "%PLACE%" mkdir "%PLACE%"
pushd "%PLACE%"
rem Windows' own curl and tar, in place of others that came with other programs.
set "TOOLS=%SystemRoot%\System32"
if exist uv.zip goto compare
"%TOOLS%\curl.exe" --location --fail --retry 3 --continue-at - --output uv.zip.part "%FROM%"
if errorlevel 1 goto offline
ren uv.zip.part uv.zip
:compare
set "SUM="
certutil -hashfile uv.zip SHA256 > sum.txt
if exist sum.txt for /f "skip=1 delims=" %%H in (sum.txt) do if not defined SUM set "SUM=%%H"
if exist sum.txt del sum.txt
if not defined SUM goto damaged
if /i not "%SUM: =%"=="%SHA%" goto damaged
"%TOOLS%\tar.exe" -xf uv.zip
set "UV_PYTHON_INSTALL_DIR=%PLACE%\python"
set "UV_CACHE_DIR=%PLACE%\cache"
uv.exe python install 3.12 --no-bin --no-registry --no-config
popd
exit /b 0

rem What came is kept: the next start goes on where it stopped.
:offline
popd
exit /b 1

:damaged
echo The download was broken off or damaged.
if exist uv.zip del uv.zip
popd
exit /b 1
