@echo off
rem Finds a Python that Easy LoRA can use, and starts a verb with it: start.bat VERB [ARGUMENTS]
rem   1. the private environment .venv in the project folder, once set-up has made it;
rem   2. a Python that is there: fetched earlier, known to the launcher py or the registry, on PATH;
rem   3. there is none: fetches uv, Astral's installer of Python, from its releases on GitHub, and
rem      lets it install one. uv is only run when its SHA-256 is the one that stands below.
rem Each Python is asked first, by usable.py, whether it will do. Nothing is written outside of the
rem project folder and %LOCALAPPDATA%\EasyLoRA, neither registry nor PATH is changed, and nothing
rem asks for an administrator. All .bat files of the project folder end here.
rem
rem How it is written: no path goes through "call" with arguments and none is used outside quotes,
rem as both would break folders with a percent sign, a caret or an "and" in their names.
setlocal DisableDelayedExpansion
set "HERE=%~dp0"
for %%R in ("%~dp0..\..") do set "ROOT=%%~fR"
set "VERB=%~1"
set "PLACE="
if defined LOCALAPPDATA set "PLACE=%LOCALAPPDATA%\EasyLoRA"
rem Windows' own programs, in place of others of the same names.
set "SYSTEM=%SystemRoot%\System32"
rem Nothing is taken from the folder that this happens to be started in.
set "NoDefaultCurrentDirectoryInExePath=1"
rem What other programs have set for a Python of theirs, and what lets py install one by itself.
for %%N in (PYTHONHOME PYTHONPATH TCL_LIBRARY TK_LIBRARY) do set "%%N="
for %%N in (PYLAUNCHER_ALLOW_INSTALL PYLAUNCHER_ALWAYS_INSTALL) do set "%%N="
set "PYTHON_MANAGER_AUTOMATIC_INSTALL=false"

rem A program that starts a .bat file looks like a double-click. But it gives options, and the
rem names of dropped files never begin with a dash.
:words
set WORD=%1
if not defined WORD goto find
set "WORD=%WORD:"=%"
if "%WORD:~0,1%"=="-" set "EASY_LORA_CLICKED="
shift
goto words

:find
set "FOUND="
set "OPTION="
set "EXE=%ROOT%\.venv\Scripts\python.exe"
rem Set-up may have to replace the private environment, so it does not run in it.
if /i not "%VERB%"=="setup" call :check
if not defined FOUND call :look
if defined FOUND goto start
call :fetch
if not defined WHY call :look
if defined FOUND goto start
if not defined WHY set "WHY=useless"
echo.
goto %WHY%

:start
"%EXE%" %OPTION% "%ROOT%\easy_scripts" %*
set "CODE=%ERRORLEVEL%"
:end
if not "%CODE%"=="0" if not "%CODE%"=="2" if defined EASY_LORA_CLICKED pause
rem After a double-click, cmd would go on with what stood behind an "and" in a dropped file's name.
if defined EASY_LORA_CLICKED exit %CODE%
exit /b %CODE%

rem Why there is no Python: one truth each.
:arm
echo Easy LoRA cannot be used on this PC: it has an ARM processor, for which there is no PyTorch
echo that could train.
goto failed
:nowhere
echo There is no Python here that Easy LoRA can use, and none can be fetched, as Windows does not
echo say where it may lie: the variable LOCALAPPDATA is missing.
goto advice
:offline
echo Python could not be fetched. Check the connection to the internet and start again; what has
echo come is kept.
goto advice
:damaged
echo What was fetched is not the file that was asked for, so it was deleted and nothing of it was
echo run. Something on the way changes it, such as a proxy; try again in another network.
goto advice
:unchecked
echo What was fetched was not run, as it cannot be checked: Windows' own program certutil fails.
goto advice
:useless
echo Python could not be installed, see above. Check the connection to the internet and start again.
echo A proxy may have broken it off (try another network), or a virus scanner may have removed uv.exe
echo (allow it in the folder %%LOCALAPPDATA%%\EasyLoRA).
:advice
echo Or install Python 3.12 (64-bit) from python.org, with all its parts, and start again.
:failed
set "CODE=1"
goto end

rem Tries EXE with OPTION; sets FOUND when Easy LoRA can use it.
:check
if defined FOUND exit /b 0
if "%OPTION%"=="" if not exist "%EXE%" exit /b 0
"%EXE%" %OPTION% -I -S "%HERE%usable.py" <nul >nul 2>&1
if "%ERRORLEVEL%"=="0" set "FOUND=yes"
exit /b 0

rem Looks at our own Python, the launcher py, the registry and PATH, the best version first.
:look
set "OPTION="
set "EXE="
if defined PLACE if exist "%PLACE%\python" call :own
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

rem Several copies of Easy LoRA share this one: the last that uninstall.bat removes takes it along.
:own
pushd "%PLACE%\python"
for /d %%D in (cpython-3*) do set "EXE=%PLACE%\python\%%D\python.exe"
popd
if defined EXE call :check
if not defined FOUND exit /b 0
set "COPY=%ROOT::=%"
set "COPY=%PLACE%\used by\%COPY:\=_%"
if not exist "%COPY%" mkdir "%COPY%"
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
set "ASK=%SYSTEM%\reg.exe query "%KEY%" /v ExecutablePath"
for /f "tokens=2,*" %%A in ('%ASK% 2^>nul') do set "EXE=%%B"
if defined EXE call :check
exit /b 0

rem The python.exe in WindowsApps only opens the Store.
:path
set "STORE=%EXE:\WindowsApps\=%"
if "%STORE%"=="%EXE%" call :check
exit /b 0

rem Fetches uv, checks that it is the one we know, and lets it install a Python of our own.
rem WHY tells what hindered it.
:fetch
set "UV=0.11.12"
set "SHA=e46956a6b088a0382101c797eef945c1b03826e629e968d434cf838d42d85b6b"
set "FROM=https://github.com/astral-sh/uv/releases/download/%UV%/uv-x86_64-pc-windows-msvc.zip"
set "ZIP=uv-%UV%.zip"
set "WHY="
if not defined PLACE set "WHY=nowhere"
set "REST=%PROCESSOR_IDENTIFIER:ARM=%"
if not "%REST%"=="%PROCESSOR_IDENTIFIER%" set "WHY=arm"
if defined WHY exit /b 0
echo Easy LoRA needs a Python, and there is none here that it can use. It fetches one of its own now
echo (about 60 MB, for this user only) into the folder %%LOCALAPPDATA%%\EasyLoRA.
if not exist "%PLACE%\cache" mkdir "%PLACE%\cache"
pushd "%PLACE%\cache"
call :download
rem What came damaged is deleted by now: once more, from the beginning.
if "%WHY%"=="damaged" call :download
if not defined WHY call :install
popd
exit /b 0

rem What came of a download that breaks off is kept, and the next start goes on there. Whether a
rem certificate was revoked is not asked, as some networks never answer; the SHA-256 decides anyway.
:download
set "WHY="
if exist "%ZIP%" goto compare
set "HOW=--location --fail --retry 3 --ssl-no-revoke --continue-at -"
"%SYSTEM%\curl.exe" %HOW% --output "%ZIP%.part" "%FROM%"
if errorlevel 1 set "WHY=offline"
if defined WHY exit /b 0
ren "%ZIP%.part" "%ZIP%"
:compare
set "SUM="
"%SYSTEM%\certutil.exe" -hashfile "%ZIP%" SHA256 > sum.txt
if errorlevel 1 set "WHY=unchecked"
if exist sum.txt for /f "skip=1 delims=" %%H in (sum.txt) do if not defined SUM set "SUM=%%H"
if exist sum.txt del sum.txt
if not defined SUM set "WHY=unchecked"
if defined WHY exit /b 0
if /i "%SUM: =%"=="%SHA%" exit /b 0
set "WHY=damaged"
del "%ZIP%"
exit /b 0

:install
"%SYSTEM%\tar.exe" -xf "%ZIP%"
set "UV_PYTHON_INSTALL_DIR=%PLACE%\python"
set "UV_CACHE_DIR=%PLACE%\cache\uv"
rem Windows trusts the certificates of a proxy or a virus scanner; uv's own list does not.
for %%C in (true false) do call :uv %%C
if not defined WHY del "%ZIP%"
exit /b 0

:uv
if "%1"=="false" if not defined WHY exit /b 0
set "WHY="
set "UV_SYSTEM_CERTS=%1"
"%PLACE%\cache\uv.exe" python install 3.12 --no-bin --no-registry --no-config
if errorlevel 1 set "WHY=useless"
exit /b 0
