@echo off
rem Makes LoRA files smaller: double-click it, or drop LoRA files onto it.
rem It changes nothing outside this folder and %LOCALAPPDATA%\EasyLoRA, and asks for no
rem administrator. All that it does is to find Python and run: python -m easy_scripts resize
setlocal EnableDelayedExpansion
set "EASY_LORA_CLICKED="
rem After a double-click or a drop, the command line of cmd names this file. Python reads it too:
rem an "and" in the name of a dropped file cuts the arguments short.
set "EASY_LORA_LINE=!CMDCMDLINE!"
if defined EASY_LORA_LINE if not "!EASY_LORA_LINE:%~nx0=!"=="!EASY_LORA_LINE!" set "EASY_LORA_CLICKED=%~nx0"
setlocal DisableDelayedExpansion
if not exist "%~dp0easy_scripts\launcher\start.bat" goto alone
"%~dp0easy_scripts\launcher\start.bat" resize %*

:alone
echo The rest of Easy LoRA is not beside this file. If you opened the zip, close it, right-click
echo it, choose "Extract all", and start lora_resize.bat in the folder that comes out.
if defined EASY_LORA_CLICKED pause
if defined EASY_LORA_CLICKED exit 1
exit /b 1
