@echo off
rem Removes what set-up fetched: the private environment, kept downloads, our own Python, shortcuts.
rem Your pictures, LoRAs and logs stay; afterwards you may delete this folder yourself.
setlocal DisableDelayedExpansion
set "EASY_LORA=%~dp0"
set "PLACE=%LOCALAPPDATA%\EasyLoRA"
set "MENU=%APPDATA%\Microsoft\Windows\Start Menu\Programs"
rem OneDrive may have moved the desktop.
set "DESKTOP=%USERPROFILE%\Desktop"
set "KEY=HKCU\Software\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders"
for /f "tokens=2,*" %%A in ('reg query "%KEY%" /v Desktop 2^>nul') do set "DESKTOP=%%B"
echo This removes Easy LoRA's environment (.venv and cache in this folder) and its own Python.
echo Your pictures, your LoRAs and the folder "output" are not touched.
set "ANSWER=%~1"
if not defined ANSWER set /p "ANSWER=Type yes and press Enter to go on: "
if /i not "%ANSWER%"=="yes" goto nothing
if exist "%EASY_LORA%.venv" rd /s /q "%EASY_LORA%.venv"
if exist "%EASY_LORA%.venv" goto inuse
if exist "%EASY_LORA%cache" rd /s /q "%EASY_LORA%cache"
if exist "%PLACE%" rd /s /q "%PLACE%"
del /q "%MENU%\Easy LoRA - *.lnk" "%DESKTOP%\Easy LoRA - *.lnk" >nul 2>&1
echo Done. You can delete the rest of this folder now, when you have saved what you want to keep.
if "%~1"=="" pause
exit /b 0

:nothing
echo Nothing was removed.
exit /b 2

:inuse
echo A file is in use. Close every window of Easy LoRA and start again.
pause
exit /b 1
