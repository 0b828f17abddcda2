@echo off
rem Removes what set-up and the installer made: the private environment, what is kept in "cache",
rem shortcuts, and the Python that was fetched, unless another copy of Easy LoRA uses it too.
rem Your pictures, LoRAs and logs stay; afterwards you may delete this folder yourself.
rem With the argument "yes" it asks nothing.
setlocal DisableDelayedExpansion
for %%R in ("%~dp0.") do set "ROOT=%%~fR"
set "QUIET=%~1"
set "ANSWER=%~1"
set "REG=%SystemRoot%\System32\reg.exe"
set "MENU=%APPDATA%\Microsoft\Windows\Start Menu\Programs"
rem OneDrive may have moved the desktop.
set "DESKTOP=%USERPROFILE%\Desktop"
set "KEY=HKCU\Software\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders"
set "ASK=%REG% query "%KEY%" /v Desktop"
for /f "tokens=2,*" %%A in ('%ASK% 2^>nul') do set "DESKTOP=%%B"
if not exist "%ROOT%\easy_scripts\launcher\start.bat" goto alone
echo This removes Easy LoRA's environment (.venv and cache in this folder) and its own Python.
echo Your pictures, your LoRAs and the folder "output" are not touched.
if not defined ANSWER set /p "ANSWER=Type yes and press Enter to go on: "
if not defined ANSWER goto nothing
set "ANSWER=%ANSWER:"=%"
if /i not "%ANSWER%"=="yes" goto nothing

rem While other files in it are open, renaming fails as a whole, where deleting would stop half-way.
set "BUSY="
set "EXE=%ROOT%\.venv\Scripts\python.exe"
call :running
set "EXE=%ROOT%\.venv\Scripts\pythonw.exe"
call :running
if defined BUSY goto inuse
set "GONE=.venv-removed"
if exist "%ROOT%\%GONE%" rd /s /q "%ROOT%\%GONE%"
if exist "%ROOT%\.venv" ren "%ROOT%\.venv" "%GONE%"
if exist "%ROOT%\.venv" goto inuse
if exist "%ROOT%\%GONE%" rd /s /q "%ROOT%\%GONE%"
if exist "%ROOT%\cache" rd /s /q "%ROOT%\cache"

rem Only the installer leaves this list, and only it makes shortcuts and an entry in Settings, Apps.
rem They are those of the copy that was installed last, which may be another one. (A name that this
rem console cannot show arrives changed: such a folder is not found, and taken for this one.)
if not exist "%ROOT%\easy_lora_files.txt" goto python
set "INSTALLED="
set "KEY=HKCU\Software\Microsoft\Windows\CurrentVersion\Uninstall\EasyLoRA"
set "ASK=%REG% query "%KEY%" /v InstallLocation"
for /f "tokens=2,*" %%A in ('%ASK% 2^>nul') do set "INSTALLED=%%B"
set "LAST=%INSTALLED%\easy_scripts\launcher\start.bat"
if defined INSTALLED if /i not "%INSTALLED%"=="%ROOT%" if exist "%LAST%" goto python
del /q "%MENU%\Easy LoRA - *.lnk" "%DESKTOP%\Easy LoRA - *.lnk" >nul 2>&1
del /q "%MENU%\Uninstall Easy LoRA.lnk" >nul 2>&1
"%REG%" delete "%KEY%" /f >nul 2>&1

rem Our own Python; the copies of Easy LoRA that use it are noted beside it by start.bat.
:python
if not defined LOCALAPPDATA goto done
set "PLACE=%LOCALAPPDATA%\EasyLoRA"
set "COPY=%ROOT::=%"
set "COPY=%PLACE%\used by\%COPY:\=_%"
if exist "%COPY%" rd "%COPY%"
set "OTHER="
if not exist "%PLACE%\used by" goto last
pushd "%PLACE%\used by"
for /d %%D in (*) do set "OTHER=%%D"
popd
if defined OTHER goto shared
:last
for %%D in (python cache "used by") do if exist "%PLACE%\%%~D" rd /s /q "%PLACE%\%%~D"
for %%F in (uv.exe uvx.exe uvw.exe uv.zip sum.txt) do if exist "%PLACE%\%%F" del /q "%PLACE%\%%F"
rem Nothing else is ours there: the folder goes only when it is empty now.
if exist "%PLACE%" rd "%PLACE%" >nul 2>&1
goto done

:shared
echo The Python in "%PLACE%" stays, as another copy of Easy LoRA uses it:
echo "%OTHER%"
:done
echo Done. You can delete the rest of this folder now, when you have saved what you want to keep.
if not defined QUIET pause
exit /b 0

:nothing
echo Nothing was removed.
if not defined QUIET pause
exit /b 2

:inuse
echo A file is in use, so nothing was removed. Close every window of Easy LoRA and start again.
if not defined QUIET pause
exit /b 1

:alone
echo This file belongs into the folder of Easy LoRA, which is not here. Nothing was removed.
if not defined QUIET pause
exit /b 1

rem A program that runs cannot be opened for writing; nothing is written.
:running
if not exist "%EXE%" exit /b 0
set "FREE="
(set "FREE=yes" >>"%EXE%") 2>nul
if not defined FREE set "BUSY=yes"
exit /b 0
