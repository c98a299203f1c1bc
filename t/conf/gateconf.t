#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# gateconf against what Postfix's postconf prints for the same files.
use strict;
use warnings;
use Gatepost::Kit;
use Test::More;

my $dir = tempdir('conf');
my $main = <<'END';
# top comment
myhostname = a.test
mynetworks = 127.0.0.0/8,
   10.0.0.0/8   192.0.2.0/24
# middle
   # indented
    198.51.100.0/24
own = x$myhostname
relayhost=
smtpd_banner = $myhostname hi
other = $own
soft_bounce = yes
END
my $master = <<'END';
smtp      inet  n       -       y       -       5       smtpd
  -o smtpd_banner=x -o { myhostname = b c }
pickup    unix  n       -       y       60      1       pickup
slow unix - - n - - smtp
END
spew("$dir/main.cf", $main);
spew("$dir/master.cf", $master);

sub gateconf {
    my @cmd = (build() . '/sbin/gateconf', '-c', $dir, @_);
    open my $pipe, '-|', @cmd or die "gateconf: $!";
    local $/;
    my $out = <$pipe> // '';
    close $pipe;
    return ($? >> 8, $out);
}

# Arguments, standard output.
my @shown = (
    [['-n'], <<"END"],
config_directory = $dir
myhostname = a.test
mynetworks = 127.0.0.0/8, 10.0.0.0/8 192.0.2.0/24 198.51.100.0/24
own = x\$myhostname
relayhost =
smtpd_banner = \$myhostname hi
soft_bounce = yes
END
    [['-nh'], "$dir\na.test\n127.0.0.0/8, 10.0.0.0/8 192.0.2.0/24 198.51.100.0/24\nx\$myhostname\n\n"
        . "\$myhostname hi\nyes\n"],
    [['-h', 'mydomain', 'myhostname'], "test\na.test\n"],
    [['nothing', 'myhostname'], "myhostname = a.test\n"],
    [['-x', 'smtpd_banner', 'own'], "smtpd_banner = a.test hi\nown = xa.test\n"],
    [['-d', 'smtpd_banner', 'smtpd_timeout', 'own'],
        "smtpd_banner = \$myhostname ESMTP \$mail_name\nsmtpd_timeout = \${stress?{10}:{300}}s\n"],
    [['-n', 'mydomain'], ''],
    [['-o', 'soft_bounce=no', 'soft_bounce'], "soft_bounce = no\n"],
    [['-M'], <<'END'],
smtp       inet  n       -       y       -       5       smtpd -o smtpd_banner=x -o {myhostname=b c}
pickup     unix  n       -       y       60      1       pickup
slow       unix  -       -       n       -       -       smtp
END
    [['-Mf', 'smtp/inet'], <<'END'],
smtp       inet  n       -       y       -       5       smtpd
    -o smtpd_banner=x
    -o {myhostname=b c}
END
    [['-P'], "smtp/inet/myhostname = b c\nsmtp/inet/smtpd_banner = x\n"],
    [['-P', 'smtp/inet/smtpd_banner'], "smtp/inet/smtpd_banner = x\n"],
);
{
    open my $stderr, '>&', \*STDERR;
    open STDERR, '>', '/dev/null';
    for my $case (@shown) {
        my ($args, $want) = @$case;
        my ($status, $out) = gateconf(@$args);
        is($out, $want, "gateconf @$args");
        is($status, 0, 'exit status');
    }
    open STDERR, '>&', $stderr;
}
my ($status, $all) = gateconf('-d');
ok(!(grep { !/^\w+ =/ } split /\n/, $all), '-d: each line a parameter');
is(join("\n", sort split /\n/, $all), join("\n", split /\n/, $all), '-d: sorted') or diag $all;
unlike($all, qr/^transport_destination/m, '-d: rows that stand for each transport are not shown');

# For machines.
is((gateconf('--json', 'soft_bounce'))[1], qq({"name": "soft_bounce", "value": "yes"}\n), '--json');
like((gateconf('-j', '-M', '25/inet'))[1] || (gateconf('-j', '-M'))[1],
    qr/\A\{"service": "[^"]+", "type": "\w+", "private": "[^"]", .*"command": "[^"]+", "arguments": "[^\n]*"\}$/m, '-M');
like((gateconf('-j', '-P'))[1], qr/\A\{"service": "[^"]+", "type": "\w+", "name": "\w+", "value": "[^\n]*"\}$/m, '-P');

# Changes.
chmod 0640, "$dir/main.cf";
is((gateconf('-e', 'mynetworks = 1.2.3.4', 'newone=5'))[0], 0, '-e');
my $edited = $main =~ s/^mynetworks.*\n.*\n/mynetworks = 1.2.3.4\n/mr =~ s/^ +198.*\n//mr . "newone = 5\n";
is(slurp("$dir/main.cf"), $edited, 'every other line stays');
is((stat "$dir/main.cf")[2] & 07777, 0640, 'so does the mode');
is((gateconf('-X', 'newone'))[0], 0, '-X');
is(slurp("$dir/main.cf"), $edited =~ s/^newone.*\n//mr, 'the line is gone');
is((gateconf('-#', 'own'))[0], 0, '-#');
like(slurp("$dir/main.cf"), qr/^#own = x\$myhostname$/m, 'a comment now');
is((gateconf('relayhost = [x.test]:25'))[0], 0, 'name=value alone');
like(slurp("$dir/main.cf"), qr/^relayhost = \[x\.test\]:25$/m, 'is a change too');
my $before = slurp("$dir/main.cf");
{
    open my $stderr, '>&', \*STDERR;
    open STDERR, '>', '/dev/null';
    for my $bad ([], ['bad'], ['a b = c'], ["x = a\n  b"]) {
        is((gateconf('-e', @$bad))[0], 1, "-e @{[map { s/\n/ /r } @$bad]}: refused");
    }
    is((gateconf('-Z'))[0], 1, 'unknown option');
    open STDERR, '>&', $stderr;
}
is(slurp("$dir/main.cf"), $before, 'nothing has changed');

# master.cf. What is shown and how it is changed is what Postfix 3.7 does with this file, but that a
# changed service stays in its place among the comments.
my $services = <<'END';
# top comment
smtp      inet  n       -       y       -       -       smtpd
  -o foo=bar -o { x_y = a b } -v
  -o smtpd_banner=yes

# mid
#odd comment
pickup    unix  n       -       y       60      1       pickup
maildrop  unix  -       n       n       -       -       pipe
  flags=DRhu user=vmail argv=/usr/bin/maildrop -d ${recipient}
END
my $smtp = join '', ($services =~ /^.*\n/mg)[1 .. 3];
my $head = 'smtp       inet  n       -       y       -       -       smtpd';

# As Postfix's name: exit status, output, errors.
sub postconf {
    my ($status, $out) = run_out(build() . '/sbin/postconf', '-c', $dir, @_);
    return ($status, $out);
}
my $unused = join '', map {"postconf: warning: $dir/master.cf: unused parameter: $_\n"} 'foo=bar', 'x_y=a b';
spew("$dir/master.cf", $services);
for my $case (
    [['-Fq', 'smtp/inet'], 0, <<'END'],
smtp/inet/service = smtp
smtp/inet/type = inet
smtp/inet/private = n
smtp/inet/unprivileged = -
smtp/inet/chroot = y
smtp/inet/wakeup = -
smtp/inet/process_limit = -
smtp/inet/command = smtpd -o foo=bar -o {x_y=a b} -v -o smtpd_banner=yes
END
    [['-Fqh', '*/*/command'], 0, "smtpd -o foo=bar -o {x_y=a b} -v -o smtpd_banner=yes\npickup\n"
        . "pipe flags=DRhu user=vmail argv=/usr/bin/maildrop -d \${recipient}\n"],
    [['-FqH', 'smtp/inet/chroot'], 0, "smtp/inet/chroot\n"],
    [['-Pqh', 'smtp/inet/foo'], 0, "bar\n"],
    [['-P', 'smtp/inet/foo'], 0, "${unused}smtp/inet/foo = bar\n"],
    [['-M', 'nosuch'], 0, qq(postconf: warning: unmatched request: "nosuch"\n$unused)],
    [['-F', 'smtp/inet/maxproc'], 1, qq(postconf: fatal: invalid service attribute name: "maxproc"\n)],
    [['-M', '-P'], 1, "postconf: fatal: specify one of -M -P\n"],
    [['-C', 'foo'], 1, qq(postconf: fatal: unknown -C option value "foo" in "foo"\n)],
    [['-l'], 0, "flock\nfcntl\ndotlock\n"],
    [['-a'], 0, "dovecot\ntable\n"],
    [['-c', "$dir/none"], 1, "postconf: fatal: open $dir/none/main.cf: No such file or directory\n"],
    [['-Me', 'smtp/inet'], 1, qq(postconf: fatal: missing '=' after attribute name: "smtp/inet"\n)],
    [['-P#', 'smtp/inet/foo'], 1, "postconf: fatal: with option -P, do not specify -#\n"],
    [['-Me', 'a/unix=a unix - - '], 1, qq(postconf: fatal: bad field count: "a/unix=a unix - - "\n)],
    [['-Pe', 'smtp/inet/foo=a b'], 1,
        qq(postconf: fatal: -Pe does not accept whitespace in parameter value: "smtp/inet/foo=a b"\n)],
    [['-Fe', 'smtp/inet/chroot=q'], 1, qq(postconf: fatal: invalid value in "smtp/inet/chroot=q"\n)]) {
    my ($args, $code, $want) = @$case;
    my ($status, $out) = postconf(@$args);
    is($out, $want, "postconf @$args");
    is($status, $code, 'exit status');
}
like((postconf('-z'))[1], qr/^postconf: fatal: usage: postconf \[/m, 'wrong usage');
is(slurp("$dir/master.cf"), $services, 'master.cf is as it was');
for my $case (
    [['-Me', 'smtp/inet=smtp inet n - y - - smtpd -o a=b'], $smtp, "$head\n    -o a=b\n"],
    [['-M', 'smtp/inet=smtp inet n - n - - smtpd'], $smtp, ($head =~ s/y  /n  /r) . "\n"],
    [['-MX', 'smtp/inet'], $smtp, ''],
    [['-M#', 'smtp/*'], $smtp, $smtp =~ s/^/#/mgr],
    [['-MX', 'nosuch/inet'], $smtp, $smtp],
    [['-Fe', 'smtp/inet/command=smtpd -o c=d'], $smtp, "$head\n    -o c=d\n"],
    [['-Fe', '*/inet/process_limit=5'], $smtp, ($head =~ s/-(?=       smtpd)/5/r)
        . "\n    -o foo=bar\n    -o {x_y=a b}\n    -v\n    -o smtpd_banner=yes\n"],
    [['-Pe', 'smtp/inet/foo=new', 'smtp/inet/fresh=1'], $smtp,
        "$head\n    -o foo=new\n    -o {x_y=a b}\n    -v\n    -o smtpd_banner=yes\n    -o fresh=1\n"],
    [['-PX', 'smtp/inet/foo', 'smtp/inet/none'], $smtp, "$head\n    -o {x_y=a b}\n    -v\n    -o smtpd_banner=yes\n"],
    [['-Me', 'new/unix=new unix - - - - - smtp -o x=y'], qr/\z/,
        "new        unix  -       -       -       -       -       smtp\n    -o x=y\n"]) {
    my ($args, $old, $new) = @$case;
    spew("$dir/master.cf", $services);
    is((postconf(@$args))[0], 0, "postconf @$args");
    my $want = $services;
    ref $old ? $want =~ s/$old/$new/ : $want =~ s/\Q$old\E/$new/;
    is(slurp("$dir/master.cf"), $want, 'changes that and nothing else');
}

# What notices begin with.
spew("$dir/main.cf", "myhostname = mx.example\nmyorigin = example\ndelay_warning_time = 4h\n");
my @kinds = qw(failure delay success verify);
($status, my $templates) = postconf('-t');
is($status, 0, 'postconf -t');
is_deeply([$templates =~ /^(\w+)_template = <<EOF\nCharset: us-ascii\nFrom: Mail Delivery System <MAILER-DAEMON>\nSubject: .+\n(?:Postmaster-Subject: .+\n)?\nThis is the mail system at host \$myhostname\.\n/mg],
    \@kinds, 'prints the templates');
($status, my $expanded) = postconf('-b');
is($status, 0, 'postconf -b');
is_deeply([$expanded =~ /^expanded_(\w+)_text = <<EOF\nThis is the mail system at host mx\.example\.\n/mg], \@kinds, 'and their texts');
like($expanded, qr/^4 hour\(s\).*^5 day\(s\) old/ms, 'with times');
spew("$dir/all", $templates);
is((postconf('-b', "$dir/all"))[1], $expanded, 'what -t prints is a file for -b');
spew("$dir/own", "success_template = <<END\nSubject: hey\n\n\$myhostname \$\$ \$myorigin\nEND\n");
for (['-b', "$dir/own"], ['-b']) {
    like((postconf(@$_))[1], qr/^expanded_success_text = <<EOF\nmx\.example \$ example\nEOF\n/m, "postconf @$_");
    spew("$dir/main.cf", "bounce_template_file = $dir/own\nmyhostname = mx.example\nmyorigin = example\ndelay_warning_time = 4h\n");
}
like((postconf('-t'))[1], qr/^success_template = <<EOF\nCharset: us-ascii\nFrom: .*\nSubject: hey\n\n\$myhostname \$\$ \$myorigin\nEOF\n/m, 'the file of main.cf');
is((postconf('-t', ''))[1], $templates, 'the built-in ones by an empty name');
spew("$dir/own", "success_template = <<END\nX: hey\nEND\n");
like((postconf('-b'))[1], qr/^\Q$dir\E\/own:2:1: error: "X" is no header of a template;/m, 'mistakes are named');
for (
    [['-b', '-t'], 'fatal: specify one of -b and -t'],
    [['-b', '-d'], 'fatal: with option -b, do not specify -d'],
    [['-to', 'a=b'], 'fatal: with option -t, do not specify -o'],
    [['-b', 'x', 'y'], 'fatal: options -b and -t require at most one template file'],
    [['-b', "$dir/nothing"], "fatal: open $dir/nothing: No such file or directory"],
    [['-T', 'x'], "warning: unknown 'postconf -T' mode: x"],
    [['-dT', 'run-version'], 'fatal: with option -T, do not specify -d'],
    [['-T', 'run-version', '-T', 'x'], 'fatal: At most one -T <mode> option may be specified']) {
    my ($args, $want) = @$_;
    my ($code, $out) = postconf(@$args);
    is($out, "postconf: $want\n", "postconf @$args");
    is($code, 1, 'exit status');
}
like((postconf('-T', $_))[1], qr/^OpenSSL \d+\.\d+\.\d+\S* \d+ [A-Z][a-z]{2} \d{4}\n\z/, "postconf -T $_") for qw(compile-version run-version);
is((postconf('-T', 'public-key-algorithms'))[1], "dsa\necdsa\nrsa\n", 'postconf -T public-key-algorithms');

# master.cf with -x, folded, and the settings of transports.
spew("$dir/main.cf", "myhostname = mx.example\nfoo = \$myhostname bar\nslow_destination_rate_delay = 3s\nsmtpd_banner = \$foo\n");
spew("$dir/master.cf", <<'END');
smtp      inet  n       -       y       -       -       smtpd
  -o smtpd_banner=$myhostname -o { smtpd_helo_restrictions = a $foo }
submission inet n - y - - smtpd -v
slow unix - - y - - smtp
e unix - - y - - lmtp flags=DRhu user=nobody argv=/usr/bin/foo -f ${sender} -- ${recipient} and a long list of further words behind it
25 inet n - y - - smtpd -v -D -o myorigin=c -v -o mydomain=f
END
for my $case (
    [['-Mx', 'smtp/inet'], "smtp       inet  n       -       y       -       -       smtpd -o smtpd_banner=mx.example -o {smtpd_helo_restrictions=a mx.example bar}\n"],
    [['-Px', 'smtp/inet/smtpd_helo_restrictions'], "smtp/inet/smtpd_helo_restrictions = a mx.example bar\n"],
    [['-Pxo', 'myhostname=other', 'smtp/inet'], "smtp/inet/smtpd_banner = other\nsmtp/inet/smtpd_helo_restrictions = a other bar\n"],
    [['-Fxh', 'smtp/inet/command'], "smtpd -o smtpd_banner=mx.example -o {smtpd_helo_restrictions=a mx.example bar}\n"],
    [['-Mf', 'submission'], "submission inet  n       -       y       -       -       smtpd -v\n"],
    [['-Mf', '25'], "25         inet  n       -       y       -       -       smtpd -v -D\n    -o myorigin=c\n    -v\n    -o mydomain=f\n"],
    [['-Mf', 'e'], "e          unix  -       -       y       -       -       lmtp flags=DRhu\n    user=nobody argv=/usr/bin/foo -f \${sender} -- \${recipient} and a long list\n    of further words behind it\n"],
    [['-Ff', 'e/unix/command'], "e/unix/command = lmtp flags=DRhu user=nobody argv=/usr/bin/foo -f \${sender} --\n    \${recipient} and a long list of further words behind it\n"],
    [['-Ff', '25/inet/command'], "25/inet/command = smtpd -v -D\n    -o myorigin=c\n    -v\n    -o mydomain=f\n"],
    [['slow_destination_recipient_limit'], "slow_destination_recipient_limit = \$default_destination_recipient_limit\n"],
    [['-x', 'slow_destination_recipient_limit'], "slow_destination_recipient_limit = 50\n"],
    [['slow_destination_rate_delay'], "slow_destination_rate_delay = 3s\n"],
    [['-nC', 'service'], "slow_destination_rate_delay = 3s\n"],
    [['fast_destination_rate_delay'], qr/^postconf: warning: fast_destination_rate_delay: unknown parameter/],
    [['-nM'], "postconf: fatal: with option -M, do not specify -n\n"]) {
    my ($args, $want) = @$case;
    my $out = (postconf(@$args))[1];
    ref $want ? like($out, $want, "postconf @$args") : is($out, $want, "postconf @$args");
}
my @of = (postconf('-C', 'service'))[1] =~ /^(slow|e)_(\S+) = /mg;
is(scalar(grep { $_ eq 'slow' } @of), 19, 'each setting of a transport');
is(scalar(grep { $_ eq 'e' } @of), 19, 'of each transport');
done_testing;
